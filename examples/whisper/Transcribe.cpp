//===- Transcribe.cpp - Text of a WAV file --------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Links the marver runtime and nothing else. The module does all the rest, from
// samples to token ids: its entry points `text` and `timestamps` take f32[1,n],
// n at most 30 s of samples, and give i64[1,m], as many ids as there are.
//
// Longer files go through in windows of 30 s. With timestamps, a window begins
// where the last complete segment of the one before ended (Radford et al. 2022,
// section 4.5), and so cuts no word in two.
//
//===----------------------------------------------------------------------===//

#include "Audio.h"
#include "Vocabulary.h"

#include <marver/marver.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

using namespace whisper;

namespace {

constexpr size_t WindowSamples = size_t{30} * SampleRate;
/// Less than a spectrum's frame says nothing.
constexpr size_t ShortestSamples = 400;

enum ExitCode { Success = 0, BadInput = 1, BadUsage = 2 };

constexpr const char Usage[] =
    "usage: transcribe [--timestamps] [--threads=N] MODULE VOCABULARY "
    "FILE.wav\n"
    "\n"
    "Writes what is said in FILE.wav to the standard output.\n"
    "\n"
    "  MODULE        made by marver-compile, with the entry points `text` and\n"
    "                `timestamps`: f32[1,n] samples to i64[1,m] token ids\n"
    "  VOCABULARY    one token a line\n"
    "  --timestamps  a line a segment, with its begin and end in seconds\n"
    "  --threads=N   0, the default: as many as the machine offers\n";

struct Options {
  bool timestamps = false;
  int threads = 0;
  std::vector<std::string> files;
};

bool parse(std::span<char *> arguments, Options &options) {
  for (std::string_view argument : arguments) {
    constexpr std::string_view Threads = "--threads=";
    if (argument == "--timestamps") {
      options.timestamps = true;
    } else if (argument.starts_with(Threads)) {
      std::string_view number = argument.substr(Threads.size());
      auto [end, status] = std::from_chars(
          number.data(), number.data() + number.size(), options.threads);
      if (status != std::errc() || end != number.data() + number.size() ||
          options.threads < 0)
        return false;
    } else if (argument.starts_with("--")) {
      return false;
    } else {
      options.files.emplace_back(argument);
    }
  }
  return options.files.size() == 3;
}

int fail(const std::string &message) {
  std::fprintf(stderr, "transcribe: %s\n", message.c_str());
  return BadInput;
}

/// One entry point of a module, ready to run; owns what it needs.
class Recognizer {
public:
  Recognizer() = default;
  Recognizer(const Recognizer &) = delete;
  Recognizer &operator=(const Recognizer &) = delete;
  ~Recognizer() {
    mv_session_free(session);
    mv_pool_release(pool);
    mv_module_release(module);
  }

  bool load(const std::string &path, const char *entry, int threads,
            std::string &error) {
    mv_error failure;
    if (mv_pool_create(threads, &pool, &failure) != MV_OK) {
      error = failure.message;
      return false;
    }
    mv_load_options options = {};
    options.pool = pool;
    if (mv_module_load_file(path.c_str(), &options, &module, &failure) !=
            MV_OK ||
        mv_session_create(module, entry, pool, &session, &failure) != MV_OK) {
      error = path + ": " + failure.message;
      return false;
    }
    const mv_signature *signature = mv_module_signature(module, entry);
    if (signature->input_count != 1 || signature->output_count != 1 ||
        signature->inputs[0].dtype != MV_DTYPE_F32 ||
        signature->inputs[0].rank != 2 ||
        signature->outputs[0].dtype != MV_DTYPE_I64) {
      error = path + ": the entry point `" + entry +
              "` does not take samples and give token ids";
      return false;
    }
    return true;
  }

  /// Token ids of a window, valid until the next call.
  bool run(std::span<const float> samples, std::span<const int64_t> &ids,
           std::string &error) {
    int64_t dims[] = {1, static_cast<int64_t>(samples.size())};
    mv_tensor output;
    if (mv_session_set_input(session, 0, dims, samples.data(),
                             samples.size_bytes()) != MV_OK ||
        mv_session_invoke(session) != MV_OK ||
        mv_session_output(session, 0, &output) != MV_OK) {
      error = mv_session_message(session);
      return false;
    }
    ids = {static_cast<const int64_t *>(output.data),
           output.bytes / sizeof(int64_t)};
    return true;
  }

private:
  mv_pool *pool = nullptr;
  mv_module *module = nullptr;
  mv_session *session = nullptr;
};

/// A line on the terminal that says how far we are; nothing elsewhere.
class Progress {
public:
  explicit Progress(size_t total) : total(total) {}
  ~Progress() { clear(); }
  void show(size_t done) {
    if (shown)
      std::fprintf(stderr, "\r%3zu %% of %.0f s", 100 * done / total,
                   static_cast<double>(total) / SampleRate);
  }
  void clear() {
    if (shown)
      std::fputs("\r\033[K", stderr);
  }

private:
  size_t total;
  bool shown = isatty(STDERR_FILENO) != 0;
};

std::string textOf(std::span<const int64_t> ids, const Vocabulary &vocabulary) {
  std::string text;
  for (int64_t id : ids)
    text += vocabulary.bytes(id);
  size_t begin = text.find_first_not_of(' ');
  return begin == std::string::npos ? std::string() : text.substr(begin);
}

void printTime(double seconds) {
  auto whole = static_cast<int64_t>(seconds);
  std::printf("%02d:%02d:%02d.%02d", static_cast<int>(whole / 3600),
              static_cast<int>(whole / 60 % 60), static_cast<int>(whole % 60),
              static_cast<int>(
                  std::lround((seconds - static_cast<double>(whole)) * 100)) %
                  100);
}

void printSegment(double begin, double end, const std::string &text) {
  std::fputs("[", stdout);
  printTime(begin);
  std::fputs(" --> ", stdout);
  printTime(end);
  std::printf("] %s\n", text.c_str());
}

/// Prints the segments of a window that begins at `start` seconds, and returns
/// how many of its seconds are done with: all of it, or up to the end of the
/// last complete segment if another one was cut by the window's end.
double printSegments(std::span<const int64_t> ids, double start, double length,
                     const Vocabulary &vocabulary) {
  double begin = 0, done = length;
  bool open = false;
  size_t first = 0; // of the current segment's text
  for (size_t i = 0; i < ids.size(); ++i) {
    std::optional<double> time = vocabulary.time(ids[i]);
    if (!time)
      continue;
    // Silence is put after the end of a window that is shorter than 30 s.
    time = std::min(*time, length);
    std::string text = textOf(ids.subspan(first, i - first), vocabulary);
    if (open && !text.empty()) {
      printSegment(start + begin, start + *time, text);
      open = false;
      done = *time;
    } else {
      open = true;
    }
    begin = *time;
    first = i + 1;
  }
  std::string rest = textOf(ids.subspan(first), vocabulary);
  if (!open || rest.empty())
    return open ? done : length; // ended, or only just begun another
  if (done < length && done > 0)
    return done; // what is cut off is heard again, whole
  printSegment(start + begin, start + length, rest);
  return length;
}

int transcribe(const Options &options) {
  std::string error;
  std::vector<float> samples;
  Vocabulary vocabulary;
  Recognizer recognizer;
  if (!readWav(options.files[2], samples, error) ||
      !vocabulary.read(options.files[1], error) ||
      !recognizer.load(options.files[0],
                       options.timestamps ? "timestamps" : "text",
                       options.threads, error))
    return fail(error);

  Progress progress(samples.size());
  for (size_t position = 0; position + ShortestSamples <= samples.size();) {
    progress.show(position);
    size_t count = std::min(WindowSamples, samples.size() - position);
    std::span<const int64_t> ids;
    if (!recognizer.run({samples.data() + position, count}, ids, error)) {
      progress.clear();
      return fail(error);
    }
    progress.clear();
    if (!options.timestamps) {
      std::printf("%s\n", textOf(ids, vocabulary).c_str());
      position += count;
    } else {
      double start = static_cast<double>(position) / SampleRate;
      double length = static_cast<double>(count) / SampleRate;
      double done = printSegments(ids, start, length, vocabulary);
      position += std::clamp(static_cast<size_t>(done * SampleRate),
                             ShortestSamples, count);
    }
    std::fflush(stdout);
  }
  return Success;
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  if (argc == 2 && std::strcmp(argv[1], "--help") == 0) {
    std::fputs(Usage, stdout);
    return Success;
  }
  if (!parse({argv + 1, static_cast<size_t>(argc - 1)}, options)) {
    std::fputs(Usage, stderr);
    return BadUsage;
  }
  return transcribe(options);
}
