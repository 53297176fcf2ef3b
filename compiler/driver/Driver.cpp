//===- Driver.cpp - A whole compilation -----------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/driver/Driver.h"

#include "compiler/driver/GuardedPool.h"
#include "compiler/driver/Locations.h"
#include "compiler/driver/OutputFile.h"
#include "compiler/driver/PackageModule.h"
#include "compiler/driver/PassWatch.h"
#include "compiler/driver/Pipeline.h"
#include "compiler/import/Import.h"
#include "compiler/import/Specialize.h"
#include "compiler/ir/States.h"
#include "compiler/native/Native.h"
#include "compiler/native/Target.h"
#include "marver/abi.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/ThreadPool.h"
#include <csignal>
#include <cstring>
#include <mutex>
#include <unistd.h>

using namespace mlir;

namespace marver {
namespace {

/// Paths that --specialize may ask for: the model is compiled once for each.
constexpr size_t kMaxSpecializations = 64;

llvm::raw_ostream &complain() { return llvm::errs() << "marver-compile: "; }

/// For crashes that no CrashRecoveryContext catches, and for reports of one
/// that do not end.
void onCrash(int) {
  auto say = [](const char *text) {
    [[maybe_unused]] ssize_t written =
        write(STDERR_FILENO, text, std::strlen(text));
  };
  say("marver-compile: internal failure: crash in ");
  say(PassWatch::current());
  say("\n");
  _exit(kInternalFailure);
}

void onFatalError(void *, const char *reason, bool) {
  complain() << "internal failure in " << PassWatch::current() << ": " << reason
             << "\n";
  std::abort();
}

void installCrashHandlers() {
  struct sigaction action = {};
  action.sa_handler = onCrash;
  action.sa_flags = SA_NODEFER | SA_ONSTACK;
  for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM})
    sigaction(signal, &action, nullptr);
  llvm::CrashRecoveryContext::Enable();
  llvm::install_fatal_error_handler(onFatalError);
}

/// Prints errors as `file:line:column: error: operator: text`, one line each.
class ErrorPrinter {
public:
  explicit ErrorPrinter(MLIRContext &context)
      : engine(context.getDiagEngine()) {
    handler = engine.registerHandler([this](Diagnostic &diagnostic) {
      if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
        print(diagnostic);
      return success();
    });
  }
  ~ErrorPrinter() { engine.eraseHandler(handler); }

  unsigned count() const { return errors; }

private:
  void print(Diagnostic &diagnostic) {
    std::lock_guard<std::mutex> guard(mutex);
    SourcePlace place = describeLocation(diagnostic.getLocation());
    std::string text;
    llvm::raw_string_ostream stream(text);
    stream << (place.file.empty() ? "marver-compile" : place.file)
           << ": error: ";
    if (!place.name.empty())
      stream << place.name << ": ";
    diagnostic.print(stream);
    // One line, whatever is quoted in it.
    for (char &c : text)
      if (c == '\n')
        c = ' ';
    ++errors;
    if (!printed.insert(text).second)
      return;
    llvm::errs() << text << "\n";
  }

  DiagnosticEngine &engine;
  DiagnosticEngine::HandlerID handler;
  std::mutex mutex;
  llvm::StringSet<> printed;
  unsigned errors = 0;
};

class Compilation {
public:
  explicit Compilation(const CompileOptions &options)
      : options(options),
        context(makeRegistry(), MLIRContext::Threading::DISABLED),
        printer(context) {
    llvm::ThreadPoolStrategy strategy =
        options.threads ? llvm::hardware_concurrency(options.threads)
                        : llvm::hardware_concurrency();
    if (strategy.compute_thread_count() > 1) {
      pool =
          std::make_unique<GuardedPool>(strategy, [this] { endAfterCrash(); });
      context.setThreadPool(*pool);
    }
    context.loadAllAvailableDialects();
  }

  int run() {
    std::optional<Stage> last = parseStage(options.compileTo);
    if (!last)
      return usage("there is no stage called '" + options.compileTo + "'");
    lastStage = *last;
    std::string error;
    std::optional<TargetInfo> target = selectTarget(options.targetCpu, error);
    if (!target)
      return usage("--target-cpu: " + error);
    pipeline.target = *target;
    pipeline.optimization = options.optimization;
    pipeline.weights = options.weights;
    pipeline.bf16Contractions = options.bf16Contractions;
    if (options.bf16Contractions &&
        !(target->cpuFeatures & MV_X86_AVX512_BF16 &&
          target->arch == MV_ARCH_X86_64))
      return usage("--precision=bf16 needs a CPU with avx512_bf16, which " +
                   options.targetCpu +
                   " has not; --weights=bf16 works on every CPU");
    pipeline.convolutions = {options.exactConvolutions,
                             options.storeWinogradWeights};
    for (const std::string &folder :
         {options.dumpStagesFolder, options.dumpKernelsFolder})
      if (!folder.empty())
        if (std::error_code code = llvm::sys::fs::create_directories(folder))
          return badInput(folder + ": " + code.message());
    int code = runStages();
    clearProgress();
    if (options.time && code == kSuccess)
      printTimes();
    return code;
  }

private:
  static DialectRegistry makeRegistry() {
    DialectRegistry registry;
    registerDialects(registry);
    return registry;
  }

  int usage(const llvm::Twine &message) {
    clearProgress();
    complain() << message << "\n";
    return kBadUsage;
  }
  int badInput(const llvm::Twine &message) {
    clearProgress();
    complain() << message << "\n";
    return kBadInput;
  }

  int runStages() {
    begin(Stage::Import);
    int code = kSuccess;
    if (!guarded([&] { code = import(); }))
      return internalFailure(Stage::Import);
    end();
    if (code != kSuccess || options.listInputs)
      return code;
    if (!dumpModule(Stage::Import))
      return kBadInput;
    if (lastStage == Stage::Import)
      return writeModuleText();

    for (Stage stage : {Stage::Graph, Stage::Kernels, Stage::Buffers}) {
      begin(stage);
      if (!runPasses(stage))
        return internalFailure(stage);
      end();
      if (stage == Stage::Graph)
        reportNarrowed();
      if (!dumpModule(stage))
        return kBadInput;
      if (lastStage == stage)
        return writeModuleText();
    }

    begin(Stage::Native);
    CodegenOptions codegen;
    codegen.target = pipeline.target;
    codegen.optimization = options.optimization;
    codegen.dumpFolder = options.dumpKernelsFolder;
    FailureOr<NativeModule> native = failure();
    keepForReproducer();
    if (!guarded([&] { native = compileNative(*module, codegen); }) ||
        failed(native))
      return internalFailure(Stage::Native);
    end();
    nativeTimes = native->times;
    StringRef image(reinterpret_cast<const char *>(native->image.bytes.data()),
                    native->image.bytes.size());
    if (!dump(Stage::Native, ".bin",
              [&](llvm::raw_ostream &out) { out << image; }))
      return kBadInput;
    if (lastStage == Stage::Native)
      return writeFile([&](llvm::raw_ostream &out) { out << image; });

    begin(Stage::Package);
    code = package(std::move(*native));
    end();
    return code;
  }

  //===--------------------------------------------------------------------===//
  // Stages
  //===--------------------------------------------------------------------===//

  int import() {
    SmallVector<ShapeOverride> shapes;
    for (const CompileOptions::Shape &shape : options.shapes)
      shapes.push_back(
          {shape.name, shape.isDim,
           SmallVector<int64_t>(shape.dims.begin(), shape.dims.end())});
    auto parameters = std::make_shared<ParameterFiles>();
    for (const CompileOptions::ParameterFile &file : options.parameters)
      if (llvm::Error error = parameters->open(file.scope, file.path))
        return badInput(toString(std::move(error)));
    bool isGood = true;
    for (const CompileOptions::Graph &graph : options.graphs) {
      auto buffer = llvm::MemoryBuffer::getFileOrSTDIN(
          graph.path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
      if (!buffer)
        return badInput(graph.path + ": " + buffer.getError().message());
      ImportRequest request;
      request.path = graph.path == "-" ? "<stdin>" : graph.path;
      request.data = std::move(*buffer);
      request.entry = graph.entry;
      request.shapes = shapes;
      request.parameters = parameters;
      request.signatureOnly = options.listInputs;
      unsigned errorsBefore = printer.count();
      OwningOpRef<ModuleOp> imported = importModel(&context, request);
      for (auto [mine, theirs] : llvm::zip_equal(shapes, request.shapes))
        mine.used |= theirs.used;
      if (!imported) {
        if (printer.count() == errorsBefore)
          complain() << graph.path << ": cannot be imported\n";
        isGood = false;
        continue;
      }
      if (options.listInputs) {
        listInputs(*imported);
        continue;
      }
      if (failed(verify(*imported))) {
        complain() << "internal failure: the importer made wrong IR of "
                   << graph.path << "\n";
        return kInternalFailure;
      }
      isGood &= specialize(*imported, request) && merge(std::move(imported));
    }
    for (const ShapeOverride &shape : shapes)
      if (isGood && !shape.used)
        return usage("--shape: no input or dim is called '" + shape.name + "'");
    for (const CompileOptions::Shape &dim : options.specializations)
      if (isGood && !options.listInputs && !specialized.contains(dim.name))
        return usage("--specialize: no dim is called '" + dim.name + "'");
    return isGood ? kSuccess : kBadInput;
  }

  /// Adds a path for every combination of the sizes that --specialize names.
  /// The model is imported once more for each. False after an error was
  /// reported.
  bool specialize(ModuleOp general, const ImportRequest &request) {
    SmallVector<ArrayRef<int64_t>> lists;
    SmallVector<ShapeOverride> fixed;
    for (const CompileOptions::Shape &dim : options.specializations) {
      // A model of several may have no such dim.
      if (!llvm::any_of(general.getOps<func::FuncOp>(),
                        [&](func::FuncOp f) { return hasSymbol(f, dim.name); }))
        continue;
      specialized.insert(dim.name);
      lists.push_back(dim.dims);
      fixed.push_back({dim.name, /*isDim=*/true, {0}});
    }
    size_t combinations = lists.empty() ? 0 : 1;
    for (ArrayRef<int64_t> list : lists)
      combinations *= list.size();
    if (combinations > kMaxSpecializations) {
      complain() << "--specialize: " << combinations << " paths; at most "
                 << kMaxSpecializations << " can be made\n";
      return false;
    }
    for (size_t number = 0; number < combinations; ++number) {
      for (size_t rest = number, i = 0; i < lists.size(); ++i) {
        fixed[i].dims[0] = lists[i][rest % lists[i].size()];
        rest /= lists[i].size();
      }
      ImportRequest again = request;
      llvm::append_range(again.shapes, fixed);
      OwningOpRef<ModuleOp> special = importModel(&context, again);
      if (!special)
        return false;
      for (auto function : general.getOps<func::FuncOp>()) {
        auto other = special->lookupSymbol<func::FuncOp>(function.getSymName());
        const bool isConcerned =
            llvm::any_of(fixed, [&](const ShapeOverride &dim) {
              return hasSymbol(function, dim.name);
            });
        if (isConcerned && (!other || other.isExternal() ||
                            failed(addSpecialization(function, other))))
          return false;
      }
    }
    return true;
  }

  static bool hasSymbol(func::FuncOp function, StringRef name) {
    auto symbols = function->getAttrOfType<ArrayAttr>("mv.symbols");
    return symbols &&
           llvm::any_of(symbols.getAsRange<DictionaryAttr>(),
                        [&](DictionaryAttr symbol) {
                          return symbol.getAs<StringAttr>("name") == name;
                        });
  }

  /// False after an error was reported.
  bool merge(OwningOpRef<ModuleOp> imported) {
    if (!module) {
      module = std::move(imported);
      return true;
    }
    for (auto function : imported->getOps<func::FuncOp>())
      if (module->lookupSymbol(function.getSymName())) {
        function.emitError()
            << "two entry points are called '" << function.getSymName() << "'";
        return false;
      }
    Block *to = module->getBody(), *from = imported->getBody();
    to->getOperations().splice(to->end(), from->getOperations());
    return true;
  }

  void listInputs(ModuleOp imported) {
    llvm::raw_ostream &out = llvm::outs();
    // A file may hold several entry points.
    auto functions = imported.getOps<func::FuncOp>();
    const bool isOneOfSeveral =
        options.graphs.size() > 1 || llvm::count_if(functions, [](auto f) {
                                       return f.isPublic() || f.isExternal();
                                     }) > 1;
    for (auto function : imported.getOps<func::FuncOp>()) {
      if (function.isPrivate() && !function.isExternal())
        continue;
      if (isOneOfSeveral)
        out << function.getSymName() << ":\n";
      auto symbols = function->getAttrOfType<ArrayAttr>("mv.symbols");
      SmallVector<std::string> symbolNames;
      if (symbols)
        for (auto symbol : symbols.getAsRange<DictionaryAttr>()) {
          auto name = symbol.getAs<StringAttr>("name");
          symbolNames.push_back(name ? name.str() : "?");
        }
      for (auto [number, type] : llvm::enumerate(function.getArgumentTypes())) {
        if (unsigned first = function.getNumArguments() - countStates(function);
            number >= first) {
          out << "state[" << number - first << "]: ";
          printType(out, cast<RankedTensorType>(type), {}, {},
                    function.getArgAttr(number, "mv.unsigned") != nullptr);
          out << "\n";
          continue;
        }
        out << "input[" << number << "]: ";
        if (auto name =
                function.getArgAttrOfType<StringAttr>(number, "mv.name"))
          out << name.getValue() << ": ";
        printType(out, cast<RankedTensorType>(type),
                  function.getArgAttrOfType<ArrayAttr>(number, "mv.dims"),
                  symbolNames,
                  function.getArgAttr(number, "mv.unsigned") != nullptr);
        out << "\n";
      }
      if (symbols)
        for (auto symbol : symbols.getAsRange<DictionaryAttr>()) {
          auto bound = [&](StringRef name) {
            auto value = symbol.getAs<IntegerAttr>(name);
            return value && value.getInt() != INT64_MAX
                       ? std::to_string(value.getInt())
                       : std::string();
          };
          auto name = symbol.getAs<StringAttr>("name");
          out << "dim " << (name ? name.getValue() : "?") << ": "
              << bound("min") << ".." << bound("max") << "\n";
        }
    }
    out.flush();
  }

  /// `1x3xT*2xf32`
  static void printType(llvm::raw_ostream &out, RankedTensorType type,
                        ArrayAttr dims, ArrayRef<std::string> symbolNames,
                        bool isUnsigned) {
    for (auto [position, size] : llvm::enumerate(type.getShape())) {
      AffineMapAttr map;
      if (dims && position < dims.size())
        map = dyn_cast<AffineMapAttr>(dims[position]);
      if (!ShapedType::isDynamic(size))
        out << size;
      else if (map && map.getValue().getNumResults() == 1)
        printExpression(out, map.getValue().getResult(0), symbolNames);
      else
        out << "?";
      out << "x";
    }
    std::string element;
    llvm::raw_string_ostream(element) << type.getElementType();
    if (isUnsigned && element[0] == 'i')
      element[0] = 'u';
    out << element;
  }

  static void printExpression(llvm::raw_ostream &out, AffineExpr expression,
                              ArrayRef<std::string> names) {
    if (auto symbol = dyn_cast<AffineSymbolExpr>(expression)) {
      out << (symbol.getPosition() < names.size() ? names[symbol.getPosition()]
                                                  : "?");
      return;
    }
    auto binary = dyn_cast<AffineBinaryOpExpr>(expression);
    if (!binary) {
      out << expression;
      return;
    }
    const char *symbol = "+";
    switch (expression.getKind()) {
    case AffineExprKind::Mul:
      symbol = "*";
      break;
    case AffineExprKind::Mod:
      symbol = "%";
      break;
    case AffineExprKind::FloorDiv:
    case AffineExprKind::CeilDiv:
      symbol = "/";
      break;
    default:
      break;
    }
    out << "(";
    printExpression(out, binary.getLHS(), names);
    out << symbol;
    printExpression(out, binary.getRHS(), names);
    out << ")";
  }

  bool runPasses(Stage stage) {
    keepForReproducer();
    PassManager manager(&context);
    manager.enableVerifier(false);
    manager.addInstrumentation(
        std::make_unique<PassWatch>(times.back().passes, options.crashIn));
    buildStagePipeline(manager, stage, pipeline);
    bool isGood = false;
    return guarded([&] {
             isGood = succeeded(manager.run(*module));
             if (isGood && failed(verify(*module))) {
               times.back().passes.failed = "the verifier";
               isGood = false;
             }
           }) &&
           isGood;
  }

  /// What the graph stage narrowed, and how exactly: a line, and with --explain
  /// one for each constant.
  void reportNarrowed() {
    int64_t count = 0, bytes = 0, narrow = 0;
    double worst = 0;
    std::string where;
    for (auto function : module->getOps<func::FuncOp>()) {
      auto report = function->getAttrOfType<ArrayAttr>("mv.narrowed");
      if (!report)
        continue;
      for (auto entry : report.getAsRange<DictionaryAttr>()) {
        auto number = [&](StringRef name) {
          return entry.getAs<IntegerAttr>(name).getInt();
        };
        StringRef name = entry.getAs<StringAttr>("name").getValue();
        double error = entry.getAs<FloatAttr>("error").getValueAsDouble();
        ++count;
        bytes += number("bytes");
        narrow += number("narrow");
        if (error > worst) {
          worst = error;
          where = name;
        }
        if (options.explain)
          llvm::errs() << "weights " << (name.empty() ? "?" : name) << ": "
                       << number("bytes") << " B to " << number("narrow")
                       << llvm::formatv(" B, error {0:e1}\n", error);
      }
      function->removeAttr("mv.narrowed");
    }
    if (options.weights.empty())
      return;
    clearProgress();
    llvm::errs() << llvm::formatv(
        "{0} weights: {1} constants, {2:F1} MB to {3:F1} MB; relative error "
        "(root mean square) at most {4:e1}{5}\n",
        options.weights, count, bytes / 1e6, narrow / 1e6, worst,
        where.empty() ? "" : " (" + where + ")");
  }

  /// A line per launch, and below it why its kernel is what it is.
  static void explain(const SidecarContents &contents) {
    for (auto [number, kernel] : llvm::enumerate(contents.kernels)) {
      llvm::errs() << number << " " << kernel.family << " " << kernel.operation
                   << " " << kernel.shapes << "\n";
      SmallVector<StringRef> lines;
      StringRef(kernel.reason).split(lines, '\n', -1, /*KeepEmpty=*/false);
      if (lines.empty())
        lines.push_back("element by element: no choice to make");
      for (StringRef line : lines)
        llvm::errs() << "    " << line << "\n";
    }
  }

  int package(NativeModule native) {
    FailureOr<PackagedModule> packaged =
        packageModule(*module, std::move(native), pipeline.target);
    if (failed(packaged))
      return internalFailure(Stage::Package);
    if (options.explain)
      explain(packaged->sidecar);
    auto file = OutputFile::create(options.output);
    if (!file)
      return badInput(toString(file.takeError()));
    BuildId buildId;
    std::string error;
    ModuleSink sink = [&](const uint8_t *data, uint64_t size) {
      (*file)->stream().write(reinterpret_cast<const char *>(data), size);
      return (*file)->isGood();
    };
    if (!writeModule(packaged->contents, sink, buildId, error) &&
        (*file)->isGood()) {
      complain() << error << "\n";
      return internalFailure(Stage::Package);
    }
    std::unique_ptr<OutputFile> sidecar;
    if (!options.sidecar.empty()) {
      auto created = OutputFile::create(options.sidecar);
      if (!created)
        return badInput(toString(created.takeError()));
      sidecar = std::move(*created);
      std::vector<uint8_t> bytes = writeSidecar(packaged->sidecar, buildId);
      sidecar->stream().write(reinterpret_cast<const char *>(bytes.data()),
                              bytes.size());
      if (llvm::Error failure = sidecar->commit())
        return badInput(toString(std::move(failure)));
    }
    if (llvm::Error failure = (*file)->commit())
      return badInput(toString(std::move(failure)));
    return kSuccess;
  }

  //===--------------------------------------------------------------------===//
  // Output
  //===--------------------------------------------------------------------===//

  int writeFile(llvm::function_ref<void(llvm::raw_ostream &)> print) {
    auto file = OutputFile::create(options.output);
    if (!file)
      return badInput(toString(file.takeError()));
    print((*file)->stream());
    if (llvm::Error error = (*file)->commit())
      return badInput(toString(std::move(error)));
    return kSuccess;
  }

  int writeModuleText() {
    return writeFile([&](llvm::raw_ostream &out) {
      module->print(out);
      out << "\n";
    });
  }

  /// `DIR/2-graph.mlir`
  bool dump(Stage stage, StringRef extension,
            llvm::function_ref<void(llvm::raw_ostream &)> print) {
    if (options.dumpStagesFolder.empty())
      return true;
    SmallString<128> path(options.dumpStagesFolder);
    llvm::sys::path::append(path, std::to_string(int(stage) + 1) + "-" +
                                      stageName(stage) + extension);
    auto file = OutputFile::create(path);
    if (!file) {
      badInput(toString(file.takeError()));
      return false;
    }
    print((*file)->stream());
    if (llvm::Error error = (*file)->commit()) {
      badInput(toString(std::move(error)));
      return false;
    }
    return true;
  }

  /// For reading: large constants are left out.
  bool dumpModule(Stage stage) {
    return dump(stage, ".mlir", [&](llvm::raw_ostream &out) {
      OpPrintingFlags flags;
      flags.elideLargeElementsAttrs(16);
      flags.elideLargeResourceString(64);
      module->print(out, flags);
      out << "\n";
    });
  }

  //===--------------------------------------------------------------------===//
  // Failures
  //===--------------------------------------------------------------------===//

  /// Runs `work`; false if it crashed.
  static bool guarded(llvm::function_ref<void()> work) {
    llvm::CrashRecoveryContext recovery;
    return recovery.RunSafely(work);
  }

  /// A task crashed on a thread of the pool. The other threads go on meanwhile,
  /// and some lock may never be released: a report that does not end in time is
  /// cut short.
  [[noreturn]] void endAfterCrash() {
    crash.lock();
    constexpr unsigned secondsForReport = 20;
    alarm(secondsForReport);
    int code = internalFailure(times.back().stage);
    llvm::errs().flush();
    _exit(code);
  }

  void keepForReproducer() { beforeStage = module->clone(); }

  /// Says what failed, and keeps what went into the stage for those who will
  /// look into it.
  int internalFailure(Stage stage) {
    clearProgress();
    StringRef failed = times.back().passes.failed;
    complain() << "internal failure in the stage " << stageName(stage);
    llvm::errs() << ", pass "
                 << (failed.empty() ? StringRef(PassWatch::current()) : failed);
    if (!beforeStage) {
      llvm::errs() << "; the model itself reproduces it\n";
      return kInternalFailure;
    }
    SmallString<128> path;
    int descriptor;
    if (llvm::sys::fs::createTemporaryFile("marver-reproducer", "mlir",
                                           descriptor, path)) {
      llvm::errs() << "\n";
      return kInternalFailure;
    }
    llvm::raw_fd_ostream out(descriptor, /*shouldClose=*/true);
    out << "// What went into the stage " << stageName(stage) << ".\n"
        << "// marver-opt --mv-stage-" << stageName(stage)
        << "='target-cpu=" << options.targetCpu
        << " optimization=" << options.optimization << "' FILE\n";
    (*beforeStage)->print(out, OpPrintingFlags().assumeVerified());
    out << "\n";
    out.flush();
    llvm::errs() << "; reproducer: " << path << "\n";
    return kInternalFailure;
  }

  //===--------------------------------------------------------------------===//
  // Progress and times
  //===--------------------------------------------------------------------===//

  using Clock = std::chrono::steady_clock;

  struct StageTime {
    Stage stage;
    Clock::time_point begin;
    double seconds = 0;
    PassWatch::Record passes;
  };

  void begin(Stage stage) {
    PassWatch::setCurrent(stageName(stage));
    times.push_back({stage, Clock::now(), 0, {}});
    if (!showsProgress)
      return;
    llvm::errs() << "\r\033[K[" << int(stage) + 1 << "/" << std::size(kStages)
                 << "] " << stageName(stage);
    llvm::errs().flush();
  }

  void end() {
    times.back().seconds =
        std::chrono::duration<double>(Clock::now() - times.back().begin)
            .count();
  }

  void clearProgress() {
    if (showsProgress)
      llvm::errs() << "\r\033[K";
  }

  void printTimes() {
    llvm::raw_ostream &out = llvm::errs();
    double total = 0;
    for (const StageTime &time : times) {
      total += time.seconds;
      out << llvm::format("%8.1f ms  ", time.seconds * 1e3)
          << stageName(time.stage) << "\n";
      for (auto [name, seconds] : time.passes.seconds)
        if (seconds >= 1e-3)
          out << llvm::format("%14.1f ms  ", seconds * 1e3) << name << "\n";
      if (time.stage == Stage::Native)
        printNativeTimes();
    }
    out << llvm::format("%8.1f ms  all stages\n", total * 1e3);
  }

  void printNativeTimes() {
    llvm::raw_ostream &out = llvm::errs();
    auto print = [&](double seconds, StringRef what) {
      out << llvm::format("%14.1f ms  ", seconds * 1e3) << what << "\n";
    };
    print(nativeTimes.emit, "emitters, all threads");
    print(nativeTimes.lower, "lowering to LLVM IR, all threads");
    print(nativeTimes.codegen, "code generation, all threads");
    print(nativeTimes.link, "linking");
    for (auto &[seconds, name] : nativeTimes.slowest)
      print(seconds, "slowest: " + name);
  }

  const CompileOptions &options;
  std::unique_ptr<GuardedPool> pool;
  std::mutex crash; ///< taken by the first thread that crashes
  MLIRContext context;
  ErrorPrinter printer;
  OwningOpRef<ModuleOp> module;
  llvm::StringSet<> specialized; ///< dims of --specialize that a model has
  OwningOpRef<ModuleOp> beforeStage;
  PipelineOptions pipeline;
  Stage lastStage = Stage::Package;
  std::vector<StageTime> times;
  NativeModule::Times nativeTimes;
  bool showsProgress = isatty(STDERR_FILENO);
};

} // namespace

int compile(const CompileOptions &options) {
  installCrashHandlers();
  // Not destroyed: the process ends, and taking a module of many constants and
  // operations apart piece by piece takes longer than the system does.
  static auto *compilation = new Compilation(options);
  return compilation->run();
}

} // namespace marver
