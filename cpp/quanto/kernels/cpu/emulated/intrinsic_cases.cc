// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/emulated/intrinsic_cases.h"

#include <immintrin.h>

namespace quanto::kernels {
namespace {

#define QUANTO_BITS(expression) \
  record(sink, #expression, expression, Agreement::kBits)
#define QUANTO_NUMBERS(expression) \
  record(sink, #expression, expression, Agreement::kNumbers)

template <typename T>
inline void record(const CaseSink& sink, const char* what, T value,
                   Agreement agreement) {
  sink.record(sink.self, what, &value, sizeof(value), agreement);
}

/// What store(p) leaves in 64 bytes.
template <typename Store>
inline void record_store(const CaseSink& sink, const char* what, Store store) {
  alignas(64) uint8_t bytes[64];
  __builtin_memset(bytes, 0x55, sizeof(bytes));
  store(bytes);
  sink.record(sink.self, what, bytes, sizeof(bytes), Agreement::kBits);
}

constexpr int kRoundingMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

void memory_cases(const CaseInputs& in, const CaseSink& sink) {
  const __m512 f = _mm512_loadu_ps(in.a);
  const __m512i x = _mm512_load_si512(in.a);
  const auto mask16 = static_cast<__mmask16>(in.mask);
  const auto mask32 = static_cast<__mmask32>(in.mask);
  const __m256i half =
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in.a));
  const __m128i quarter =
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(in.a));
  QUANTO_BITS(f);
  QUANTO_BITS(x);
  QUANTO_BITS(_mm512_loadu_si512(in.a));
  QUANTO_BITS(_mm512_maskz_loadu_ps(mask16, in.a));
  QUANTO_BITS(_mm512_maskz_loadu_epi16(mask32, in.a));
  QUANTO_BITS(_mm512_maskz_loadu_epi8(in.mask, in.a));
  QUANTO_BITS(_mm256_maskz_loadu_epi16(mask16, in.a));
  QUANTO_BITS(_mm256_maskz_loadu_epi8(mask32, in.a));
  QUANTO_BITS(_mm_maskz_loadu_epi8(mask16, in.a));
  QUANTO_BITS(_mm512_maskz_loadu_ps(1, in.edge));
  QUANTO_BITS(_mm512_maskz_loadu_epi16(3, in.edge));
  QUANTO_BITS(_mm512_maskz_loadu_epi8(15, in.edge));
  QUANTO_BITS(_mm256_maskz_loadu_epi16(3, in.edge));
  QUANTO_BITS(_mm256_maskz_loadu_epi8(15, in.edge));
  QUANTO_BITS(_mm_maskz_loadu_epi8(15, in.edge));
  _mm512_mask_storeu_ps(in.edge, 1, f);
  _mm256_mask_storeu_epi16(in.edge, 3, half);
  _mm_mask_storeu_epi8(in.edge, 15, quarter);
  record_store(sink, "_mm512_storeu_ps",
               [&](uint8_t* p) { _mm512_storeu_ps(p, f); });
  record_store(sink, "_mm512_storeu_si512",
               [&](uint8_t* p) { _mm512_storeu_si512(p, x); });
  record_store(sink, "_mm512_store_si512",
               [&](uint8_t* p) { _mm512_store_si512(p, x); });
  record_store(sink, "_mm512_mask_storeu_ps",
               [&](uint8_t* p) { _mm512_mask_storeu_ps(p, mask16, f); });
  record_store(sink, "_mm256_mask_storeu_epi16",
               [&](uint8_t* p) { _mm256_mask_storeu_epi16(p, mask16, half); });
  record_store(sink, "_mm_mask_storeu_epi8",
               [&](uint8_t* p) { _mm_mask_storeu_epi8(p, mask16, quarter); });
}

void float_cases(const CaseInputs& in, const CaseSink& sink) {
  const __m512 a = _mm512_loadu_ps(in.a);
  const __m512 b = _mm512_loadu_ps(in.b);
  const __m512 c = _mm512_loadu_ps(in.c);
  const __m256 half = _mm256_loadu_ps(reinterpret_cast<const float*>(in.b));
  const __m128 quarter = _mm_loadu_ps(reinterpret_cast<const float*>(in.b));
  const auto mask = static_cast<__mmask16>(in.mask);
  QUANTO_BITS(_mm512_setzero_ps());
  QUANTO_BITS(_mm512_set1_ps(half[0]));
  QUANTO_BITS(
      _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  QUANTO_BITS(_mm512_broadcastss_ps(quarter));
  QUANTO_BITS(_mm512_mask_broadcastss_ps(a, mask, quarter));
  QUANTO_BITS(_mm512_mask_mov_ps(a, mask, b));
  QUANTO_BITS(_mm512_castps_si512(a));
  QUANTO_BITS(_mm512_castps512_ps256(a));
  QUANTO_BITS(_mm512_castps512_ps128(a));
  QUANTO_BITS(_mm512_zextps256_ps512(half));
  QUANTO_BITS(_mm512_extractf32x8_ps(a, 0));
  QUANTO_BITS(_mm512_extractf32x8_ps(a, 1));
  QUANTO_NUMBERS(_mm512_add_ps(a, b));
  QUANTO_NUMBERS(_mm512_sub_ps(a, b));
  QUANTO_NUMBERS(_mm512_mul_ps(a, b));
  QUANTO_NUMBERS(_mm512_div_ps(a, b));
  QUANTO_NUMBERS(_mm512_fmadd_ps(a, b, c));
  QUANTO_NUMBERS(_mm512_fnmadd_ps(a, b, c));
  QUANTO_NUMBERS(_mm512_fmsub_ps(a, b, c));
  QUANTO_NUMBERS(_mm512_reduce_add_ps(a));
  QUANTO_BITS(_mm512_min_ps(a, b));
  QUANTO_BITS(_mm512_max_ps(a, b));
  QUANTO_BITS(_mm512_abs_ps(a));
  QUANTO_BITS(_mm512_reduce_max_ps(a));
  QUANTO_BITS(_mm512_reduce_min_ps(a));
  QUANTO_BITS(_mm512_roundscale_ps(a, kRoundingMode));
  QUANTO_BITS(_mm512_cvtps_epi32(a));
  QUANTO_BITS(_mm512_cvtps_ph(a, kRoundingMode));
  QUANTO_BITS(_mm512_cvtph_ps(_mm256_castps_si256(half)));
  QUANTO_BITS(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ));
  QUANTO_BITS(_mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ));
  QUANTO_BITS(_mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q));
}

void integer_cases(const CaseInputs& in, const CaseSink& sink) {
  const __m512i a = _mm512_loadu_si512(in.a);
  const __m512i b = _mm512_loadu_si512(in.b);
  const __m512i c = _mm512_loadu_si512(in.c);
  const auto mask16 = static_cast<__mmask16>(in.mask);
  const auto mask32 = static_cast<__mmask32>(in.mask);
  QUANTO_BITS(_mm512_setzero_si512());
  QUANTO_BITS(_mm512_set1_epi8(static_cast<char>(in.mask)));
  QUANTO_BITS(_mm512_set1_epi16(static_cast<short>(in.mask)));
  QUANTO_BITS(_mm512_set1_epi32(static_cast<int>(in.mask)));
  QUANTO_BITS(_mm512_castsi512_ps(a));
  QUANTO_BITS(_mm512_cvtepi32_ps(a));
  QUANTO_BITS(_mm512_and_si512(a, b));
  QUANTO_BITS(_mm512_or_si512(a, b));
  QUANTO_BITS(_mm512_xor_si512(a, b));
  QUANTO_BITS(_mm512_add_epi16(a, b));
  QUANTO_BITS(_mm512_add_epi32(a, b));
  QUANTO_BITS(_mm512_sub_epi32(a, b));
  QUANTO_BITS(_mm512_max_epi32(a, b));
  QUANTO_BITS(_mm512_max_epu8(a, b));
  QUANTO_BITS(_mm512_srlv_epi32(a, b));
  QUANTO_BITS(_mm512_srlv_epi32(a, _mm512_and_si512(b, _mm512_set1_epi32(63))));
  QUANTO_BITS(_mm512_cmpeq_epi8_mask(a, b));
  QUANTO_BITS(_mm512_cmpeq_epi16_mask(a, b));
  QUANTO_BITS(_mm512_cmpge_epu16_mask(a, b));
  QUANTO_BITS(_mm512_cmplt_epu16_mask(a, b));
  QUANTO_BITS(_mm512_test_epi16_mask(a, b));
  QUANTO_BITS(_mm512_testn_epi16_mask(a, b));
  QUANTO_BITS(_mm512_test_epi32_mask(a, b));
  QUANTO_BITS(_mm512_mask_add_epi32(c, mask16, a, b));
  QUANTO_BITS(_mm512_mask_mov_epi16(a, mask32, b));
  QUANTO_BITS(_mm512_mask_mov_epi32(a, mask16, b));
  QUANTO_BITS(_mm512_dpbusd_epi32(c, a, b));
}

void shift_cases(const CaseInputs& in, const CaseSink& sink) {
  const __m512i a = _mm512_loadu_si512(in.a);
  // Counts up to and past the width; a loop would not be constant.
#define QUANTO_SHIFTS(count)                                  \
  QUANTO_BITS(_mm512_slli_epi16(a, count));                   \
  QUANTO_BITS(_mm512_srli_epi16(a, count));                   \
  QUANTO_BITS(_mm512_slli_epi32(a, count));                   \
  QUANTO_BITS(_mm512_srli_epi32(a, count));                   \
  QUANTO_BITS(_mm512_srai_epi32(a, count));                   \
  QUANTO_BITS(_mm512_sll_epi16(a, _mm_cvtsi32_si128(count))); \
  QUANTO_BITS(_mm512_srl_epi16(a, _mm_cvtsi32_si128(count)))
  QUANTO_SHIFTS(0);
  QUANTO_SHIFTS(1);
  QUANTO_SHIFTS(7);
  QUANTO_SHIFTS(15);
  QUANTO_SHIFTS(16);
  QUANTO_SHIFTS(31);
  QUANTO_SHIFTS(32);
  QUANTO_SHIFTS(200);
#undef QUANTO_SHIFTS
}

void shuffle_cases(const CaseInputs& in, const CaseSink& sink) {
  const __m512i a = _mm512_loadu_si512(in.a);
  const __m512i b = _mm512_loadu_si512(in.b);
  const __m512i c = _mm512_loadu_si512(in.c);
  const auto mask32 = static_cast<__mmask32>(in.mask);
  const auto* half_of_b = reinterpret_cast<const __m256i*>(in.b);
  const __m256i half = _mm256_loadu_si256(half_of_b);
  const __m128i quarter = _mm256_castsi256_si128(half);
  QUANTO_BITS(_mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10,
                               25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3,
                               18, 2, 17, 1, 16, 0));
  QUANTO_BITS(
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  QUANTO_BITS(_mm512_castsi512_si256(a));
  QUANTO_BITS(_mm512_extracti64x4_epi64(a, 0));
  QUANTO_BITS(_mm512_extracti64x4_epi64(a, 1));
  QUANTO_BITS(_mm512_inserti64x4(_mm512_castsi256_si512(half), half, 1));
  QUANTO_BITS(_mm512_inserti64x4(a, half, 0));
  QUANTO_BITS(_mm512_broadcast_i64x4(half));
  QUANTO_BITS(_mm512_cvtepi8_epi32(quarter));
  QUANTO_BITS(_mm512_cvtepu8_epi32(quarter));
  QUANTO_BITS(_mm512_cvtepi8_epi16(half));
  QUANTO_BITS(_mm512_cvtepu8_epi16(half));
  QUANTO_BITS(_mm512_cvtepu16_epi32(half));
  QUANTO_BITS(_mm512_cvtepi32_epi8(a));
  QUANTO_BITS(_mm512_cvtepi32_epi16(a));
  QUANTO_BITS(_mm512_unpacklo_epi32(a, b));
  QUANTO_BITS(_mm512_unpackhi_epi32(a, b));
  QUANTO_BITS(_mm512_unpacklo_epi64(a, b));
  QUANTO_BITS(_mm512_unpackhi_epi64(a, b));
  QUANTO_BITS(_mm512_shuffle_i32x4(a, b, 0x88));
  QUANTO_BITS(_mm512_shuffle_i32x4(a, b, 0xdd));
  QUANTO_BITS(_mm512_shuffle_i32x4(a, b, 0x1b));
  QUANTO_BITS(_mm512_permutexvar_ps(a, _mm512_castsi512_ps(b)));
  QUANTO_BITS(_mm512_permutex2var_ps(_mm512_castsi512_ps(a), b,
                                     _mm512_castsi512_ps(c)));
  QUANTO_BITS(_mm512_packus_epi32(a, b));
  QUANTO_BITS(_mm512_packus_epi16(a, b));
  QUANTO_BITS(_mm512_permutexvar_epi32(a, b));
  QUANTO_BITS(_mm512_permutexvar_epi16(a, b));
  QUANTO_BITS(_mm512_mask_permutexvar_epi16(c, mask32, a, b));
  QUANTO_BITS(_mm512_permutex2var_epi16(a, b, c));
}

void avx512_cases(const CaseInputs& in, const CaseSink& sink) {
  memory_cases(in, sink);
  float_cases(in, sink);
  integer_cases(in, sink);
  shift_cases(in, sink);
  shuffle_cases(in, sink);
}

void bf16_cases(const CaseInputs& in, const CaseSink& sink) {
  const __m512 a = _mm512_loadu_ps(in.a);
  const __m512 b = _mm512_loadu_ps(in.b);
  const __m512 c = _mm512_loadu_ps(in.c);
  const auto x = reinterpret_cast<__m512bh>(a);
  const auto y = reinterpret_cast<__m512bh>(b);
  QUANTO_BITS(_mm512_cvtne2ps_pbh(a, b));
  QUANTO_NUMBERS(_mm512_dpbf16_ps(c, x, y));
}

struct TileSizes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

void record_tile(const CaseSink& sink, const char* what, Agreement agreement) {
  alignas(64) uint8_t bytes[16 * 64];
  __builtin_memset(bytes, 0x55, sizeof(bytes));
  // The intrinsics do not say which memory they touch.
  asm volatile("" ::: "memory");
  _tile_stored(0, bytes, 64);
  asm volatile("" ::: "memory");
  sink.record(sink.self, what, bytes, sizeof(bytes), agreement);
}

void tile_cases(const TileInputs& in, const CaseSink& sink) {
  alignas(64) TileSizes sizes = {};
  const auto set_size = [&](int tile, int rows, int words) {
    sizes.rows[tile] = static_cast<uint8_t>(rows);
    sizes.row_bytes[tile] = static_cast<uint16_t>(4 * words);
  };
  set_size(0, in.rows, in.columns);
  set_size(1, in.rows, in.words);
  set_size(2, in.words, in.columns);
  asm volatile("" : : "r"(&sizes), "r"(&in) : "memory");
  _tile_loadconfig(&sizes);
  _tile_zero(0);
  record_tile(sink, "_tile_zero", Agreement::kBits);
  // Rows in steps of 48 bytes lie over one another, which loads may.
  _tile_loadd(0, in.sums, 48);
  record_tile(sink, "_tile_loadd", Agreement::kBits);
  _tile_stream_loadd(0, in.sums, 64);
  record_tile(sink, "_tile_stream_loadd", Agreement::kBits);
  _tile_loadd(1, in.a, 64);
  _tile_loadd(2, in.b, 64);
  _tile_dpbssd(0, 1, 2);
  record_tile(sink, "_tile_dpbssd", Agreement::kBits);
  _tile_loadd(0, in.sums, 64);
  _tile_dpbf16ps(0, 1, 2);
  record_tile(sink, "_tile_dpbf16ps", Agreement::kNumbers);
  _tile_release();
}

}  // namespace

IntrinsicCases QUANTO_CASES() { return {avx512_cases, bf16_cases, tile_cases}; }

}  // namespace quanto::kernels
