// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_unroll.h"
#include "quanto/kernels/cpu/vec.h"

// Lane operations that only the linear kernels need.

namespace quanto::kernels {
namespace {

/// Lanes of a vector, and bytes of one.
constexpr int kLanes = Vec::kLanes;
constexpr int kVecBytes = 4 * kLanes;

}  // namespace
}  // namespace quanto::kernels

#ifdef QUANTO_HAS_NEON
#include "quanto/kernels/cpu/linear_vec_neon.h"
#endif

namespace quanto::kernels {
namespace {

#ifdef QUANTO_HAS_AVX512

/// a * b - c, one rounding.
inline Vec fms(Vec a, Vec b, Vec c) { return {_mm512_fmsub_ps(a.v, b.v, c.v)}; }
inline Vec lane_numbers() {
  return {_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)};
}
/// The element of `table` that the low four bits of each lane name.
inline Vec look_up(Vec table, IVec index) {
  return {_mm512_permutexvar_ps(index.v, table.v)};
}
/// `low` in the lower half of the lanes, `high` in the upper.
inline Vec broadcast_halves(float low, float high) {
  return {_mm512_mask_broadcastss_ps(_mm512_set1_ps(low), 0xff00,
                                     _mm_set_ss(high))};
}
inline IVec load_words(const void* p) { return {_mm512_loadu_si512(p)}; }
/// The first `bytes` <= kVecBytes bytes, the rest 0.
inline IVec load_words_tail(const uint8_t* p, int64_t bytes) {
  return {_mm512_maskz_loadu_epi8(~__mmask64{0} >> (kVecBytes - bytes), p)};
}
inline IVec shift_right_each(IVec a, IVec counts) {
  return {_mm512_srlv_epi32(a.v, counts.v)};
}
inline IVec shift_right_signed(IVec a, int bits) {
  return {_mm512_srai_epi32(a.v, static_cast<unsigned>(bits))};
}

inline IVec ixor(IVec a, IVec b) { return {_mm512_xor_si512(a.v, b.v)}; }
/// The larger of each pair of unsigned bytes.
inline IVec max_bytes(IVec a, IVec b) { return {_mm512_max_epu8(a.v, b.v)}; }
inline bool any_byte_255(IVec a) {
  return _mm512_cmpeq_epi8_mask(a.v, _mm512_set1_epi8(-1)) != 0;
}

/// rows[i] lane j becomes rows[j] lane i.
inline void transpose(IVec (&rows)[kLanes]) {
  __m512i t[16];
  __m512i u[16];
  QUANTO_UNROLL for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(rows[i].v, rows[i + 1].v);
    t[i + 1] = _mm512_unpackhi_epi32(rows[i].v, rows[i + 1].v);
  }
  QUANTO_UNROLL for (int i = 0; i < 16; i += 4) {
    u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // u[4q + i] holds, in its 128-bit part p, column 4p + i of rows 4q..4q+3.
  QUANTO_UNROLL for (int i = 0; i < 4; ++i) {
    const __m512i a = _mm512_shuffle_i32x4(u[i], u[4 + i], 0x88);
    const __m512i b = _mm512_shuffle_i32x4(u[8 + i], u[12 + i], 0x88);
    const __m512i c = _mm512_shuffle_i32x4(u[i], u[4 + i], 0xdd);
    const __m512i d = _mm512_shuffle_i32x4(u[8 + i], u[12 + i], 0xdd);
    rows[i].v = _mm512_shuffle_i32x4(a, b, 0x88);
    rows[8 + i].v = _mm512_shuffle_i32x4(a, b, 0xdd);
    rows[4 + i].v = _mm512_shuffle_i32x4(c, d, 0x88);
    rows[12 + i].v = _mm512_shuffle_i32x4(c, d, 0xdd);
  }
}

inline float reduce_max(Vec a) { return _mm512_reduce_max_ps(a.v); }
/// The lower and the upper half of the lanes.
inline __m128 fold_to_four(Vec a) {
  const __m256 low = _mm512_castps512_ps256(a.v);
  const __m256 both = _mm256_add_ps(low, _mm512_extractf32x8_ps(a.v, 1));
  return _mm_add_ps(_mm256_castps256_ps128(both),
                    _mm256_extractf128_ps(both, 1));
}

#elif !defined(QUANTO_HAS_NEON)

inline Vec fms(Vec a, Vec b, Vec c) { return {_mm256_fmsub_ps(a.v, b.v, c.v)}; }
inline IVec load_words(const void* p) {
  return {_mm256_loadu_si256(static_cast<const __m256i*>(p))};
}
inline IVec load_words_tail(const uint8_t* p, int64_t bytes) {
  alignas(32) uint8_t part[kVecBytes] = {};
  for (int64_t i = 0; i < bytes; ++i) part[i] = p[i];
  return load_words(part);
}
inline IVec shift_right_each(IVec a, IVec counts) {
  return {_mm256_srlv_epi32(a.v, counts.v)};
}
inline IVec shift_right_signed(IVec a, int bits) {
  return {_mm256_srai_epi32(a.v, bits)};
}

inline IVec ixor(IVec a, IVec b) { return {_mm256_xor_si256(a.v, b.v)}; }
inline IVec max_bytes(IVec a, IVec b) { return {_mm256_max_epu8(a.v, b.v)}; }
inline bool any_byte_255(IVec a) {
  return _mm256_movemask_epi8(_mm256_cmpeq_epi8(a.v, _mm256_set1_epi8(-1))) !=
         0;
}

inline void transpose(IVec (&rows)[kLanes]) {
  __m256i t[8];
  __m256i u[8];
  QUANTO_UNROLL for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(rows[i].v, rows[i + 1].v);
    t[i + 1] = _mm256_unpackhi_epi32(rows[i].v, rows[i + 1].v);
  }
  QUANTO_UNROLL for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
    u[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    u[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
    u[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  QUANTO_UNROLL for (int i = 0; i < 4; ++i) {
    rows[i].v = _mm256_permute2x128_si256(u[i], u[4 + i], 0x20);
    rows[4 + i].v = _mm256_permute2x128_si256(u[i], u[4 + i], 0x31);
  }
}

inline float reduce_max(Vec a) {
  __m128 most =
      _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  most = _mm_max_ps(most, _mm_movehl_ps(most, most));
  return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
}
inline __m128 fold_to_four(Vec a) {
  return _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
}

#endif

inline void store_words(void* p, IVec a) {
  store(static_cast<float*>(p), as_float(a));
}

#ifndef QUANTO_HAS_NEON
/// The sums of the lanes of four vectors.
inline void reduce_four(Vec a, Vec b, Vec c, Vec d, float* sums) {
  const __m128 fa = fold_to_four(a);
  const __m128 fb = fold_to_four(b);
  const __m128 fc = fold_to_four(c);
  const __m128 fd = fold_to_four(d);
  const __m128 ab =
      _mm_add_ps(_mm_unpacklo_ps(fa, fb), _mm_unpackhi_ps(fa, fb));
  const __m128 cd =
      _mm_add_ps(_mm_unpacklo_ps(fc, fd), _mm_unpackhi_ps(fc, fd));
  _mm_storeu_ps(sums, _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab)));
}
#endif

/// sums[i] = sum of the lanes of acc[i].
template <int kCount>
inline void reduce_all(const Vec (&acc)[kCount], float* sums) {
  constexpr int kFours = kCount / 4 * 4;
  QUANTO_UNROLL for (int i = 0; i < kFours; i += 4) {
    reduce_four(acc[i], acc[i + 1], acc[i + 2], acc[i + 3], sums + i);
  }
  QUANTO_UNROLL for (int i = kFours; i < kCount; ++i) {
    sums[i] = reduce_add(acc[i]);
  }
}

}  // namespace
}  // namespace quanto::kernels
