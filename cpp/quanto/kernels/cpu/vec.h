// SPDX-License-Identifier: Apache-2.0
#pragma once

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>

// A vector of fp32 lanes: 16 on AVX-512, 8 on AVX2 and NEON. Included only by
// sources that are compiled once per instruction set; everything is in an
// unnamed namespace, so that no object exports code compiled for a wider CPU
// than the one that may pick it up.

namespace quanto::kernels {
namespace {

// name_avx2 and so on: how the functions in tables.h are spelled.
#if defined(QUANTO_ISA_AMX_BF16)
#define QUANTO_FOR_ISA(name) name##_amx_bf16
#elif defined(QUANTO_ISA_AVX512_BF16)
#define QUANTO_FOR_ISA(name) name##_avx512_bf16
#elif defined(QUANTO_ISA_AVX512)
#define QUANTO_FOR_ISA(name) name##_avx512
#elif defined(QUANTO_ISA_AVX_VNNI)
#define QUANTO_FOR_ISA(name) name##_avx_vnni
#elif defined(QUANTO_ISA_AVX2)
#define QUANTO_FOR_ISA(name) name##_avx2
#elif defined(QUANTO_ISA_NEON_I8MM)
#define QUANTO_FOR_ISA(name) name##_neon_i8mm
#elif defined(QUANTO_ISA_NEON_DOTPROD)
#define QUANTO_FOR_ISA(name) name##_neon_dotprod
#elif defined(QUANTO_ISA_NEON)
#define QUANTO_FOR_ISA(name) name##_neon
#endif

#if defined(QUANTO_ISA_AVX512) || defined(QUANTO_ISA_AVX512_BF16) || \
    defined(QUANTO_ISA_AMX_BF16)
#define QUANTO_HAS_AVX512 1

struct Vec {
  static constexpr int kLanes = 16;
  __m512 v;
};
/// As many 32-bit integer lanes as Vec has floats.
struct IVec {
  __m512i v;
};

inline __mmask16 tail_mask(int count) {
  return static_cast<__mmask16>((1U << count) - 1);
}
inline Vec zero() { return {_mm512_setzero_ps()}; }
inline Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline float first_lane(Vec a) {
  return _mm_cvtss_f32(_mm512_castps512_ps128(a.v));
}
inline Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
/// The first `count` < kLanes elements, the rest 0.
inline Vec load_tail(const float* p, int count) {
  return {_mm512_maskz_loadu_ps(tail_mask(count), p)};
}
inline void store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
inline void store_tail(float* p, Vec a, int count) {
  _mm512_mask_storeu_ps(p, tail_mask(count), a.v);
}
inline Vec add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }
/// a * b + c, one rounding.
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
/// c - a * b, one rounding.
inline Vec fnma(Vec a, Vec b, Vec c) {
  return {_mm512_fnmadd_ps(a.v, b.v, c.v)};
}
inline Vec round_even(Vec a) {
  return {
      _mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline float reduce_add(Vec a) { return _mm512_reduce_add_ps(a.v); }
/// True if any lane of a is a NaN.
inline bool any_nan(Vec a) {
  return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q) != 0;
}
inline IVec to_int(Vec a) { return {_mm512_cvtps_epi32(a.v)}; }
inline Vec to_float(IVec a) { return {_mm512_cvtepi32_ps(a.v)}; }

inline Vec from_fp16(__m256i h) { return {_mm512_cvtph_ps(h)}; }
inline Vec from_bf16(__m256i h) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16))};
}
inline Vec load_fp16(const uint16_t* p) {
  return from_fp16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Vec load_fp16_tail(const uint16_t* p, int count) {
  return from_fp16(_mm256_maskz_loadu_epi16(tail_mask(count), p));
}
inline Vec load_bf16(const uint16_t* p) {
  return from_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Vec load_bf16_tail(const uint16_t* p, int count) {
  return from_bf16(_mm256_maskz_loadu_epi16(tail_mask(count), p));
}
inline __m256i to_fp16(Vec a) {
  return _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// Lanes whose upper halves are rounded to nearest even, whatever the lower
/// are.
inline IVec round_high_half(IVec a) {
  const __mmask16 odd = _mm512_test_epi32_mask(a.v, _mm512_set1_epi32(0x10000));
  const __m512i up = _mm512_add_epi32(a.v, _mm512_set1_epi32(0x7fff));
  return {_mm512_mask_add_epi32(up, odd, up, _mm512_set1_epi32(1))};
}
/// Round to nearest even; subnormals are kept, NaN becomes a quiet NaN.
inline __m256i to_bf16(Vec a) {
  __m512i rounded = round_high_half({_mm512_castps_si512(a.v)}).v;
  rounded =
      _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q),
                            _mm512_set1_epi32(0x7fc00000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}
inline void store16(uint16_t* p, __m256i h) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), h);
}
inline void store16_tail(uint16_t* p, __m256i h, int count) {
  _mm256_mask_storeu_epi16(p, tail_mask(count), h);
}
/// The upper halves of the lanes of two vectors, one after the other.
inline void store_high_halves(uint16_t* p, IVec a, IVec b) {
  const __m512i every_other = _mm512_set_epi16(
      63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29,
      27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
  _mm512_storeu_si512(p, _mm512_permutex2var_epi16(a.v, every_other, b.v));
}

/// kLanes bytes, zero- or sign-extended.
inline IVec load_u8(const uint8_t* p) {
  return {_mm512_cvtepu8_epi32(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline IVec load_s8(const int8_t* p) {
  return {_mm512_cvtepi8_epi32(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline IVec load_u8_tail(const uint8_t* p, int count) {
  return {_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(tail_mask(count), p))};
}
inline IVec load_s8_tail(const int8_t* p, int count) {
  return {_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(tail_mask(count), p))};
}
/// The low byte of each lane.
inline void store_u8(uint8_t* p, IVec a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a.v));
}
inline void store_u8_tail(uint8_t* p, IVec a, int count) {
  _mm_mask_storeu_epi8(p, tail_mask(count), _mm512_cvtepi32_epi8(a.v));
}
/// The lanes of four vectors one after the other, clamped to [0, 255].
inline void store_clamped_u8(uint8_t* p, IVec a, IVec b, IVec c, IVec d) {
  const __m512i bytes = _mm512_packus_epi16(_mm512_packus_epi32(a.v, b.v),
                                            _mm512_packus_epi32(c.v, d.v));
  // Packing leaves four lanes of each vector in each quarter.
  _mm512_storeu_si512(
      p, _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2,
                                                    6, 10, 14, 3, 7, 11, 15),
                                  bytes));
}
inline IVec ibroadcast(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline IVec iand(IVec a, IVec b) { return {_mm512_and_si512(a.v, b.v)}; }
inline IVec shift_right(IVec a, int bits) {
  return {_mm512_srli_epi32(a.v, static_cast<unsigned>(bits))};
}
inline IVec iadd(IVec a, IVec b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline IVec isub(IVec a, IVec b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline IVec ior(IVec a, IVec b) { return {_mm512_or_si512(a.v, b.v)}; }
inline IVec shift_left(IVec a, int bits) {
  return {_mm512_slli_epi32(a.v, static_cast<unsigned>(bits))};
}
/// Each lane by its own count.
inline IVec shift_right(IVec a, IVec counts) {
  return {_mm512_srlv_epi32(a.v, counts.v)};
}
/// The same bits.
inline IVec as_int(Vec a) { return {_mm512_castps_si512(a.v)}; }
inline Vec as_float(IVec a) { return {_mm512_castsi512_ps(a.v)}; }

/// One truth value per lane.
struct Mask {
  __mmask16 v;
};
inline Mask less(Vec a, Vec b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)};
}
inline Mask equal(Vec a, Vec b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)};
}
inline Mask is_nan(Vec a) {
  return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)};
}
/// `yes` where the mask is set, `no` elsewhere.
inline Vec select(Mask mask, Vec yes, Vec no) {
  return {_mm512_mask_mov_ps(no.v, mask.v, yes.v)};
}
inline IVec select(Mask mask, IVec yes, IVec no) {
  return {_mm512_mask_mov_epi32(no.v, mask.v, yes.v)};
}

#elif defined(QUANTO_ISA_AVX2) || defined(QUANTO_ISA_AVX_VNNI)

struct Vec {
  static constexpr int kLanes = 8;
  __m256 v;
};
struct IVec {
  __m256i v;
};

inline __m256i tail_mask(int count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane);
}
inline Vec zero() { return {_mm256_setzero_ps()}; }
inline Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
inline float first_lane(Vec a) { return _mm256_cvtss_f32(a.v); }
inline Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline Vec load_tail(const float* p, int count) {
  return {_mm256_maskload_ps(p, tail_mask(count))};
}
inline void store(float* p, Vec a) { _mm256_storeu_ps(p, a.v); }
inline void store_tail(float* p, Vec a, int count) {
  _mm256_maskstore_ps(p, tail_mask(count), a.v);
}
inline Vec add(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec sub(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec mul(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec div(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0F), a.v)}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec fnma(Vec a, Vec b, Vec c) {
  return {_mm256_fnmadd_ps(a.v, b.v, c.v)};
}
inline Vec round_even(Vec a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline float reduce_add(Vec a) {
  __m128 s =
      _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline bool any_nan(Vec a) {
  return _mm256_movemask_ps(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)) != 0;
}
inline IVec to_int(Vec a) { return {_mm256_cvtps_epi32(a.v)}; }
inline Vec to_float(IVec a) { return {_mm256_cvtepi32_ps(a.v)}; }

inline Vec from_fp16(__m128i h) { return {_mm256_cvtph_ps(h)}; }
inline Vec from_bf16(__m128i h) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16))};
}
inline __m128i load16_tail(const uint16_t* p, int count) {
  alignas(16) uint16_t part[8] = {};
  __builtin_memcpy(part, p, static_cast<size_t>(count) * sizeof(uint16_t));
  return _mm_load_si128(reinterpret_cast<const __m128i*>(part));
}
inline Vec load_fp16(const uint16_t* p) {
  return from_fp16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Vec load_fp16_tail(const uint16_t* p, int count) {
  return from_fp16(load16_tail(p, count));
}
inline Vec load_bf16(const uint16_t* p) {
  return from_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Vec load_bf16_tail(const uint16_t* p, int count) {
  return from_bf16(load16_tail(p, count));
}
inline __m128i to_fp16(Vec a) {
  return _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline IVec round_high_half(IVec a) {
  const __m256i odd =
      _mm256_and_si256(_mm256_srli_epi32(a.v, 16), _mm256_set1_epi32(1));
  return {
      _mm256_add_epi32(a.v, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)))};
}
inline __m128i to_bf16(Vec a) {
  __m256i rounded = round_high_half({_mm256_castps_si256(a.v)}).v;
  rounded = _mm256_castps_si256(
      _mm256_blendv_ps(_mm256_castsi256_ps(rounded),
                       _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)),
                       _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)));
  const __m256i high = _mm256_srli_epi32(rounded, 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(high),
                          _mm256_extracti128_si256(high, 1));
}
inline void store16(uint16_t* p, __m128i h) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), h);
}
inline void store16_tail(uint16_t* p, __m128i h, int count) {
  alignas(16) uint16_t part[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(part), h);
  __builtin_memcpy(p, part, static_cast<size_t>(count) * sizeof(uint16_t));
}
inline void store_high_halves(uint16_t* p, IVec a, IVec b) {
  const __m256i halves = _mm256_packus_epi32(_mm256_srli_epi32(a.v, 16),
                                             _mm256_srli_epi32(b.v, 16));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm256_permute4x64_epi64(halves, 0xd8));
}

inline IVec load_u8(const uint8_t* p) {
  return {_mm256_cvtepu8_epi32(
      _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
}
inline IVec load_s8(const int8_t* p) {
  return {_mm256_cvtepi8_epi32(
      _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
}
inline IVec load_u8_tail(const uint8_t* p, int count) {
  uint8_t part[8] = {};
  for (int i = 0; i < count; ++i) part[i] = p[i];
  return load_u8(part);
}
inline IVec load_s8_tail(const int8_t* p, int count) {
  int8_t part[8] = {};
  for (int i = 0; i < count; ++i) part[i] = p[i];
  return load_s8(part);
}
inline void store_u8(uint8_t* p, IVec a) {
  const __m256i low = _mm256_shuffle_epi8(a.v, _mm256_set1_epi32(0x0c080400));
  const __m256i both = _mm256_permutevar8x32_epi32(
      low, _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(both));
}
inline void store_u8_tail(uint8_t* p, IVec a, int count) {
  uint8_t part[8];
  store_u8(part, a);
  for (int i = 0; i < count; ++i) p[i] = part[i];
}
inline void store_clamped_u8(uint8_t* p, IVec a, IVec b, IVec c, IVec d) {
  const __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(a.v, b.v),
                                            _mm256_packus_epi32(c.v, d.v));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm256_permutevar8x32_epi32(
                          bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
}
inline IVec ibroadcast(int32_t x) { return {_mm256_set1_epi32(x)}; }
inline IVec iand(IVec a, IVec b) { return {_mm256_and_si256(a.v, b.v)}; }
inline IVec shift_right(IVec a, int bits) {
  return {_mm256_srli_epi32(a.v, bits)};
}
inline IVec iadd(IVec a, IVec b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline IVec isub(IVec a, IVec b) { return {_mm256_sub_epi32(a.v, b.v)}; }
inline IVec ior(IVec a, IVec b) { return {_mm256_or_si256(a.v, b.v)}; }
inline IVec shift_left(IVec a, int bits) {
  return {_mm256_slli_epi32(a.v, bits)};
}
inline IVec shift_right(IVec a, IVec counts) {
  return {_mm256_srlv_epi32(a.v, counts.v)};
}
inline IVec as_int(Vec a) { return {_mm256_castps_si256(a.v)}; }
inline Vec as_float(IVec a) { return {_mm256_castsi256_ps(a.v)}; }

struct Mask {
  __m256 v;
};
inline Mask less(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask equal(Vec a, Vec b) {
  return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)};
}
inline Mask is_nan(Vec a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
inline Vec select(Mask mask, Vec yes, Vec no) {
  return {_mm256_blendv_ps(no.v, yes.v, mask.v)};
}
inline IVec select(Mask mask, IVec yes, IVec no) {
  return as_int(select(mask, as_float(yes), as_float(no)));
}

#endif

}  // namespace
}  // namespace quanto::kernels

#ifdef __aarch64__
#define QUANTO_HAS_NEON 1
#include "quanto/kernels/cpu/vec_neon.h"
#endif
