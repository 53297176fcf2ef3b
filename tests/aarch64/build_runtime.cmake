# cmake -DSOURCE=... -DBINARY=... -P build_runtime.cmake: the runtime and marver-run for
# AArch64, which the tests run in an emulator.
find_program(emulator qemu-aarch64)
if(NOT emulator OR NOT EXISTS /usr/aarch64-linux-gnu/lib/libc.so.6)
  message("skipped: no qemu-aarch64 or no libraries to build for it (./dev setup installs "
    "qemu-user and libstdc++-12-dev-arm64-cross)")
  return()
endif()
execute_process(
  COMMAND ${CMAKE_COMMAND} -S ${SOURCE} -B ${BINARY} -G Ninja -Wno-dev
    -DCMAKE_TOOLCHAIN_FILE=${SOURCE}/cmake/aarch64-linux-gnu.cmake
    -DMARVER_BUILD_COMPILER=OFF -DMARVER_BUILD_TESTS=OFF
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${BINARY} --target marver-run
  COMMAND_ERROR_IS_FATAL ANY)
