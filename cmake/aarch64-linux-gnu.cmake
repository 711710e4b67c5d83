# Builds for aarch64 on Debian's cross compiler and runs the tests under
# qemu-user: packages g++-aarch64-linux-gnu and qemu-user.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# Packages of the host that are used by their headers only serve both.
file(GLOB fmt_DIR /usr/lib/*-linux-gnu/cmake/fmt)
# Every extension that qemu knows; programs find their libraries below -L.
set(CMAKE_CROSSCOMPILING_EMULATOR
    qemu-aarch64 -cpu max,pauth-impdef=on -L /usr/aarch64-linux-gnu)
