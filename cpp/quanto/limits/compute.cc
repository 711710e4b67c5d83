// SPDX-License-Identifier: Apache-2.0
#include "quanto/limits/compute.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

// Each loop keeps twelve independent accumulators in registers: enough to cover
// the latency of one instruction on every port that takes it.

namespace quanto::limits {
namespace {

constexpr int kChains = 12;

template <typename T>
void keep(const T& value) {
  asm volatile("" : : "m"(value) : "memory");
}

#if defined(__x86_64__)

__attribute__((target("avx2,fma"))) void fma_avx2(int64_t count) {
  __m256 sums[kChains] = {};
  const __m256 a = _mm256_set1_ps(0.5F);
  const __m256 b = _mm256_set1_ps(0.25F);
  for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm256_fmadd_ps(sum, a, b);
  }
  for (const auto& sum : sums) keep(sum);
}

/// The factors of each step are new to the compiler, which would otherwise
/// multiply once and only add.
__attribute__((target("avx2"))) void pairs_int16(int64_t count) {
  __m256i sums[kChains] = {};
  __m256i a = _mm256_set1_epi16(3);
  const __m256i b = _mm256_set1_epi16(-5);
  for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) {
      asm volatile("" : "+x"(a));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
    }
  }
  for (const auto& sum : sums) keep(sum);
}

__attribute__((target("avx2"))) void pairs_int8(int64_t count) {
  __m256i sums[kChains] = {};
  __m256i a = _mm256_set1_epi8(3);
  const __m256i b = _mm256_set1_epi8(-5);
  for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) {
      asm volatile("" : "+x"(a));
      sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, b));
    }
  }
  for (const auto& sum : sums) keep(sum);
}

__attribute__((target("avx512f"))) void fma_avx512(int64_t count) {
  __m512 sums[kChains] = {};
  const __m512 a = _mm512_set1_ps(0.5F);
  const __m512 b = _mm512_set1_ps(0.25F);
  for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_fmadd_ps(sum, a, b);
  }
  for (const auto& sum : sums) keep(sum);
}

__attribute__((target("avx512f,avx512bf16"))) void dot_bf16(int64_t count) {
  __m512 sums[kChains] = {};
  const auto a = (__m512bh)_mm512_set1_epi16(0x3f00);
  const auto b = (__m512bh)_mm512_set1_epi16(0x3e80);
  for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_dpbf16_ps(sum, a, b);
  }
  for (const auto& sum : sums) keep(sum);
}

__attribute__((target("avxvnni"))) void dot_int8_narrow(int64_t count) {
  __m256i sums[kChains] = {};
  const __m256i a = _mm256_set1_epi8(3);
  const __m256i b = _mm256_set1_epi8(-5);
  for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm256_dpbusd_avx_epi32(sum, a, b);
  }
  for (const auto& sum : sums) keep(sum);
}

__attribute__((target("avx512f,avx512vnni"))) void dot_int8(int64_t count) {
  __m512i sums[kChains] = {};
  const __m512i a = _mm512_set1_epi8(3);
  const __m512i b = _mm512_set1_epi8(-5);
  for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
  }
  for (const auto& sum : sums) keep(sum);
}

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
  keep(config);  // gcc 12 takes the next line for a load of eight bytes
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

void multiply_add(int64_t count) {
  using Vector = float __attribute__((vector_size(16)));
  Vector sums[kChains] = {};
  const Vector a = {0.5F, 0.5F, 0.5F, 0.5F};
  const Vector b = {0.25F, 0.25F, 0.25F, 0.25F};
  for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = sum * a + b;
  }
  for (const auto& sum : sums) keep(sum);
}

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
