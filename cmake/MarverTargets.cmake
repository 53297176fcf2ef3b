# Compile options that every target of the project shares, and the helpers that
# declare them.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # ccache and a precompiled header agree only when told to.
  set(launcher ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${CCACHE_PROGRAM})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()

add_library(marver_options INTERFACE)
target_compile_options(marver_options INTERFACE
  -Wall -Wextra -Werror -Wno-unused-parameter
  -ffunction-sections -fdata-sections)
target_link_options(marver_options INTERFACE -fuse-ld=lld -Wl,--gc-sections)
if(MARVER_SANITIZE)
  list(JOIN MARVER_SANITIZE "," sanitizers)
  target_compile_options(marver_options INTERFACE
    -fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer
    # Native code of modules has no function types before its entry points.
    -fno-sanitize=function)
  target_link_options(marver_options INTERFACE -fsanitize=${sanitizers})
endif()

# marver_compiler_library(NAME SOURCES... [LINK LIBS...] [EXCEPTIONS])
# A static library of the compiler: LLVM's own language rules (no exceptions, no
# RTTI) and the one precompiled header. EXCEPTIONS is for a library whose single
# file wraps a third-party parser that throws; it does without the header.
function(marver_compiler_library name)
  cmake_parse_arguments(ARG "EXCEPTIONS" "" "LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_include_directories(${name} PUBLIC
    ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR} ${PROJECT_SOURCE_DIR}/runtime/include)
  target_link_libraries(${name} PUBLIC marver_options marver_llvm ${ARG_LINK})
  if(ARG_EXCEPTIONS)
    target_compile_options(${name} PRIVATE -fno-rtti -fexceptions)
  else()
    target_compile_options(${name} PRIVATE -fno-rtti -fno-exceptions)
    target_precompile_headers(${name} REUSE_FROM marver_pch)
  endif()
endfunction()
