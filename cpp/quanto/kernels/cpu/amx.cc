// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/amx.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace quanto::kernels {
namespace {

// Leaf 7 of CPUID, EDX.
constexpr uint32_t kAmxBf16 = uint32_t{1} << 22;
constexpr uint32_t kAmxTile = uint32_t{1} << 24;
constexpr uint32_t kAmxInt8 = uint32_t{1} << 25;
// Leaf 1 of CPUID, ECX: XGETBV may be used.
constexpr uint32_t kOsxsave = uint32_t{1} << 27;
// Of XCR0: the tile configuration (17) and the tile data (18).
constexpr uint32_t kTileData = 18;
constexpr uint32_t kTileState = uint32_t{1} << 17 | uint32_t{1} << kTileData;
// Linux's request for a register state that it grants on demand.
constexpr long kRequestPermission = 0x1023;

bool has_features(uint32_t features) {
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  return (edx & features) == features;
}

bool system_saves_tiles() {
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kOsxsave) == 0) {
    return false;
  }
  // The intrinsic would need this file to be compiled for XSAVE.
  asm volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
  return (eax & kTileState) == kTileState;
}

}  // namespace

bool may_use_amx_bf16() {
  return has_features(kAmxBf16 | kAmxTile) && system_saves_tiles() &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_amx_int8() { return has_features(kAmxInt8 | kAmxTile); }

}  // namespace quanto::kernels

#else

namespace quanto::kernels {

bool may_use_amx_bf16() { return false; }
bool has_amx_int8() { return false; }

}  // namespace quanto::kernels

#endif
