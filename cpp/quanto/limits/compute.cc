// SPDX-License-Identifier: Apache-2.0
#include "quanto/limits/compute.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

// Each loop keeps twelve independent sums in registers: enough to cover the
// latency of one instruction on every port that takes it. The loops are written
// in assembly because a compiler keeps one of several sums that begin alike and
// take the same products, or moves them through memory: then the latency is
// measured, or the moves.

namespace quanto::limits {
namespace {

constexpr int kChains = 12;

// Instructions are written one to a line.
// clang-format off

/// What `of` makes of the number of each sum.
#define QUANTO_TWELVE(of)                                                 \
  of("0") of("1") of("2") of("3") of("4") of("5") of("6") of("7") of("8") \
  of("9") of("10") of("11")

/// The registers of the sums (0 to 11), of a factor (12) and of a product (13).
#define QUANTO_REGISTERS(letters)                                      \
  letters "0", letters "1", letters "2", letters "3", letters "4",     \
  letters "5", letters "6", letters "7", letters "8", letters "9",     \
  letters "10", letters "11", letters "12", letters "13"

#if defined(__x86_64__)

/// 0.5 as bf16, twice; as fp32 next to it.
constexpr uint32_t kFactor = 0x3f003f00;

/// void name(count): `count` times `step` for each of the twelve sums.
#define QUANTO_LOOP(name, step)                  \
  void name(int64_t count) {                     \
    asm volatile(                                \
        "vpbroadcastd %1, %%ymm12\n\t"           \
        QUANTO_TWELVE(QUANTO_ZERO)               \
        "1:\n\t"                                 \
        QUANTO_TWELVE(step)                      \
        "dec %0\n\t"                             \
        "jnz 1b\n\t"                             \
        "vzeroupper"                             \
        : "+r"(count)                            \
        : "m"(kFactor)                           \
        : "cc", QUANTO_REGISTERS("xmm"));        \
  }
#define QUANTO_ZERO(n) "vpxor %%ymm" n ", %%ymm" n ", %%ymm" n "\n\t"

/// A product that adds: `op` of the factor and itself, to sum n.
#define QUANTO_STEP(op, width, n) \
  op " %%" width "12, %%" width "12, %%" width n "\n\t"
#define QUANTO_FMA_YMM(n) QUANTO_STEP("vfmadd231ps", "ymm", n)
#define QUANTO_FMA_ZMM(n) QUANTO_STEP("vfmadd231ps", "zmm", n)
#define QUANTO_BF16_ZMM(n) QUANTO_STEP("vdpbf16ps", "zmm", n)
#define QUANTO_INT8_YMM(n) QUANTO_STEP("%{vex%} vpdpbusd", "ymm", n)
#define QUANTO_INT8_ZMM(n) QUANTO_STEP("vpdpbusd", "zmm", n)

/// A product, and its addition.
#define QUANTO_PRODUCT_AND_SUM(op, sum, n) \
  op " %%ymm12, %%ymm12, %%ymm13\n\t"      \
  sum " %%ymm13, %%ymm" n ", %%ymm" n "\n\t"
#define QUANTO_PAIRS_INT16(n) QUANTO_PRODUCT_AND_SUM("vpmaddwd", "vpaddd", n)
#define QUANTO_PAIRS_INT8(n) QUANTO_PRODUCT_AND_SUM("vpmaddubsw", "vpaddw", n)

// clang-format on

QUANTO_LOOP(fma_avx2, QUANTO_FMA_YMM)
QUANTO_LOOP(pairs_int16, QUANTO_PAIRS_INT16)
QUANTO_LOOP(pairs_int8, QUANTO_PAIRS_INT8)
QUANTO_LOOP(fma_avx512, QUANTO_FMA_ZMM)
QUANTO_LOOP(dot_bf16, QUANTO_BF16_ZMM)
QUANTO_LOOP(dot_int8_narrow, QUANTO_INT8_YMM)
QUANTO_LOOP(dot_int8, QUANTO_INT8_ZMM)

struct TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

/// Eight tiles of 16 rows of 64 bytes: 0 to 3 accumulate, 4 to 7 are factors.
__attribute__((target("amx-tile"))) void configure_tiles() {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = 64;
    config.rows[i] = 16;
  }
  // gcc 12 takes the next line for a load of eight bytes.
  asm volatile("" : : "m"(config) : "memory");
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
}

__attribute__((target("amx-tile,amx-bf16"))) void tile_bf16(int64_t count) {
  configure_tiles();
  for (int64_t i = 0; i < count; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

__attribute__((target("amx-tile,amx-int8"))) void tile_int8(int64_t count) {
  configure_tiles();
  for (int64_t i = 0; i < count; ++i) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_release();
}

/// Whether the CPU has tiles with both products and Linux grants them.
bool request_tiles() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kBf16 = 1U << 22;
  constexpr unsigned kTile = 1U << 24;
  constexpr unsigned kInt8 = 1U << 25;
  constexpr unsigned kAll = kBf16 | kTile | kInt8;
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return (d & kAll) == kAll &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

#else

// clang-format off
#define QUANTO_ZERO(n) "movi v" n ".4s, #0\n\t"
#define QUANTO_FMLA(n) "fmla v" n ".4s, v12.4s, v12.4s\n\t"

void multiply_add(int64_t count) {
  asm volatile(
      "fmov v12.4s, #0.5\n\t"
      QUANTO_TWELVE(QUANTO_ZERO)
      "1:\n\t"
      QUANTO_TWELVE(QUANTO_FMLA)
      "subs %0, %0, #1\n\t"
      "b.ne 1b"
      : "+r"(count)
      :
      : "cc", QUANTO_REGISTERS("v"));
}
// clang-format on

#endif

}  // namespace

std::vector<Compute> available_computes() {
  std::vector<Compute> computes;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    computes.push_back({"fp32", "vfmadd ymm", kChains * 8 * 2, fma_avx2});
    computes.push_back({"int8", "vpmaddwd ymm", kChains * 16 * 2, pairs_int16});
    computes.push_back(
        {"int8", "vpmaddubsw ymm", kChains * 32 * 2, pairs_int8});
  }
  if (__builtin_cpu_supports("avxvnni")) {
    computes.push_back(
        {"int8", "vpdpbusd ymm", kChains * 32 * 2, dot_int8_narrow});
  }
  if (__builtin_cpu_supports("avx512f")) {
    computes.push_back({"fp32", "vfmadd zmm", kChains * 16 * 2, fma_avx512});
  }
  if (__builtin_cpu_supports("avx512bf16")) {
    computes.push_back({"bf16", "vdpbf16ps zmm", kChains * 32 * 2, dot_bf16});
  }
  if (__builtin_cpu_supports("avx512vnni")) {
    computes.push_back({"int8", "vpdpbusd zmm", kChains * 64 * 2, dot_int8});
  }
  if (request_tiles()) {
    computes.push_back({"bf16", "tdpbf16ps", 4 * 16 * 16 * 32 * 2, tile_bf16});
    computes.push_back({"int8", "tdpbssd", 4 * 16 * 16 * 64 * 2, tile_int8});
  }
#else
  computes.push_back({"fp32", "fmla", kChains * 4 * 2, multiply_add});
#endif
  return computes;
}

}  // namespace quanto::limits
