// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_vec.h"

// Sums of products of bytes in 32-bit lanes, exact, as the instruction set has
// them.

namespace quanto::kernels {
namespace {

#if defined(QUANTO_HAS_AVX512) || defined(QUANTO_ISA_AVX_VNNI)
/// One instruction multiplies unsigned bytes by signed ones, four to a lane.
#define QUANTO_HAS_VNNI 1
#endif
#if defined(QUANTO_HAS_VNNI) || defined(QUANTO_HAS_NEON)
/// dot4() takes int8 weights.
#define QUANTO_HAS_DOT4 1
#endif

/// Whether its codes may be up to 255, and not 127 only.
#ifdef QUANTO_HAS_VNNI
constexpr bool kDotTakesBytes = true;
#else
constexpr bool kDotTakesBytes = false;
#endif

/// What it wants added to int8 weights: NEON multiplies signed bytes.
#ifdef QUANTO_HAS_NEON
constexpr int kDotOffset = 0;
#else
constexpr int kDotOffset = 128;
#endif

#ifdef QUANTO_HAS_NEON

inline int8x16_t as_bytes(uint32x4_t a) { return vreinterpretq_s8_u32(a); }
inline uint32x4_t dot4(uint32x4_t sum, int8x16_t a, int8x16_t b) {
#ifdef __ARM_FEATURE_DOTPROD
  return as_unsigned(vdotq_s32(as_signed(sum), a, b));
#else
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
  const int32x4_t high = vpaddlq_s16(vmull_high_s8(a, b));
  return vaddq_u32(sum, as_unsigned(vpaddq_s32(low, high)));
#endif
}
inline IVec dot4(IVec sum, IVec codes, IVec x) {
  return {dot4(sum.lo, as_bytes(codes.lo), as_bytes(x.lo)),
          dot4(sum.hi, as_bytes(codes.hi), as_bytes(x.hi))};
}

#elif defined(QUANTO_HAS_AVX512)

/// sum + the products of unsigned codes and signed x, four in each lane.
inline IVec dot4(IVec sum, IVec codes, IVec x) {
  return {_mm512_dpbusd_epi32(sum.v, codes.v, x.v)};
}
inline __m128i fold_to_four(IVec a) {
  const __m256i low = _mm512_castsi512_si256(a.v);
  const __m256i both = _mm256_add_epi32(low, _mm512_extracti64x4_epi64(a.v, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(both),
                       _mm256_extracti128_si256(both, 1));
}

#else

#ifdef QUANTO_HAS_VNNI
inline IVec dot4(IVec sum, IVec codes, IVec x) {
  return {_mm256_dpbusd_avx_epi32(sum.v, codes.v, x.v)};
}
#else
/// The products of unsigned codes and signed x, two in each 16 bits. Codes are
/// at most 127: the sum then fits, which the instruction would saturate.
inline IVec dot_shorts(IVec codes, IVec x) {
  return {_mm256_maddubs_epi16(codes.v, x.v)};
}
inline IVec add_shorts(IVec a, IVec b) { return {_mm256_add_epi16(a.v, b.v)}; }
/// Each two 16-bit integers to their sum.
inline IVec add_pairs(IVec a) {
  return {_mm256_madd_epi16(a.v, _mm256_set1_epi16(1))};
}
inline IVec dot4(IVec sum, IVec codes, IVec x) {
  return iadd(sum, add_pairs(dot_shorts(codes, x)));
}
/// sum + the products of two 16-bit integers in each lane.
inline IVec dot2(IVec sum, IVec a, IVec b) {
  return {_mm256_add_epi32(sum.v, _mm256_madd_epi16(a.v, b.v))};
}
/// The even bytes, and the odd ones, as 16-bit integers.
inline IVec even_bytes(IVec a) {
  return {_mm256_srai_epi16(_mm256_slli_epi16(a.v, 8), 8)};
}
inline IVec odd_bytes(IVec a) { return {_mm256_srai_epi16(a.v, 8)}; }
/// kVecBytes / 2 signed bytes as 16-bit integers.
inline IVec load_shorts(const void* p) {
  return {
      _mm256_cvtepi8_epi16(_mm_loadu_si128(static_cast<const __m128i*>(p)))};
}
#endif

inline __m128i fold_to_four(IVec a) {
  return _mm_add_epi32(_mm256_castsi256_si128(a.v),
                       _mm256_extracti128_si256(a.v, 1));
}

#endif

/// The codes of plane j as dot4() takes them: where they stand, if it can.
template <int kBits>
inline IVec plane_codes(IVec bytes, int j) {
  constexpr int kMask = ((1 << kBits) - 1) * 0x1010101;
  if (!kDotTakesBytes) {
    return iand(shift_right(bytes, j * kBits), ibroadcast(kMask));
  }
  const uint32_t in_place = static_cast<uint32_t>(kMask) << (j * kBits);
  return iand(bytes, ibroadcast(static_cast<int32_t>(in_place)));
}
/// What a code of plane_codes() is worth.
template <int kBits>
constexpr float plane_unit(int j) {
  return kDotTakesBytes ? 1.0F / static_cast<float>(1 << (j * kBits)) : 1.0F;
}

#ifdef QUANTO_HAS_NEON
using IntSums = IVec;
inline IVec settled(IVec sum) { return sum; }
#else
/// int32 sums that a loop carries. GCC keeps each of __m512i in two registers
/// or more, as its elements are of another type than the instruction's.
/// settled() ends what a loop carries: where the code after it has too few
/// registers, GCC stores the sums each time around.
class IntSums {
 public:
  IntSums() = default;
  IntSums(IVec a) : lanes_(__builtin_bit_cast(Lanes, a)) {}
  operator IVec() const { return __builtin_bit_cast(IVec, lanes_); }
  friend IntSums settled(IntSums sum) {
    asm("" : "+x"(sum.lanes_));
    return sum;
  }

 private:
  using Lanes = int32_t __attribute__((vector_size(kVecBytes)));
  Lanes lanes_;
};
#endif

/// sums[i] = sum of the lanes of acc[i] less `offset`, modulo 2^32.
template <int kCount>
inline void reduce_all(const IntSums (&acc)[kCount], uint32_t offset,
                       float* sums) {
  static_assert(kCount <= 4);
#ifdef QUANTO_HAS_NEON
  QUANTO_UNROLL for (int i = 0; i < kCount; ++i) {
    const uint32_t sum = vaddvq_u32(vaddq_u32(acc[i].lo, acc[i].hi)) - offset;
    sums[i] = static_cast<float>(static_cast<int32_t>(sum));
  }
#else
  __m128i folded[4] = {};
  QUANTO_UNROLL for (int i = 0; i < kCount; ++i) {
    folded[i] = fold_to_four(static_cast<IVec>(acc[i]));
  }
  const __m128i ab = _mm_hadd_epi32(folded[0], folded[1]);
  const __m128i cd = _mm_hadd_epi32(folded[2], folded[3]);
  const __m128i all = _mm_sub_epi32(
      _mm_hadd_epi32(ab, cd), _mm_set1_epi32(static_cast<int32_t>(offset)));
  alignas(16) float parts[4];
  _mm_store_ps(parts, _mm_cvtepi32_ps(all));
  QUANTO_UNROLL for (int i = 0; i < kCount; ++i) sums[i] = parts[i];
#endif
}

}  // namespace
}  // namespace quanto::kernels
