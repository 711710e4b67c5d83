// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/vec.h"

// The operations of linear_vec.h on NEON.

namespace quanto::kernels {
namespace {

inline Vec fms(Vec a, Vec b, Vec c) {
  return {vfmaq_f32(vnegq_f32(c.lo), a.lo, b.lo),
          vfmaq_f32(vnegq_f32(c.hi), a.hi, b.hi)};
}
inline IVec load_words(const void* p) {
  return as_int(load(static_cast<const float*>(p)));
}
inline IVec load_words_tail(const uint8_t* p, int64_t bytes) {
  uint8_t part[sizeof(IVec)] = {};
  __builtin_memcpy(part, p, static_cast<size_t>(bytes));
  return load_words(part);
}
inline IVec shift_right_each(IVec a, IVec counts) {
  return shift_right(a, counts);
}
inline IVec shift_right_signed(IVec a, int bits) {
  return {as_unsigned(as_signed(a.lo) >> bits),
          as_unsigned(as_signed(a.hi) >> bits)};
}
inline IVec ixor(IVec a, IVec b) {
  return {veorq_u32(a.lo, b.lo), veorq_u32(a.hi, b.hi)};
}
inline uint32x4_t max_bytes(uint32x4_t a, uint32x4_t b) {
  return vreinterpretq_u32_u8(
      vmaxq_u8(vreinterpretq_u8_u32(a), vreinterpretq_u8_u32(b)));
}
inline IVec max_bytes(IVec a, IVec b) {
  return {max_bytes(a.lo, b.lo), max_bytes(a.hi, b.hi)};
}
inline bool any_byte_255(IVec a) {
  return vmaxvq_u8(vreinterpretq_u8_u32(max_bytes(a.lo, a.hi))) == 255;
}

/// Four rows of four lanes.
inline void transpose_four(uint32x4_t& a, uint32x4_t& b, uint32x4_t& c,
                           uint32x4_t& d) {
  const uint64x2_t ab0 = vreinterpretq_u64_u32(vtrn1q_u32(a, b));
  const uint64x2_t ab1 = vreinterpretq_u64_u32(vtrn2q_u32(a, b));
  const uint64x2_t cd0 = vreinterpretq_u64_u32(vtrn1q_u32(c, d));
  const uint64x2_t cd1 = vreinterpretq_u64_u32(vtrn2q_u32(c, d));
  a = vreinterpretq_u32_u64(vtrn1q_u64(ab0, cd0));
  b = vreinterpretq_u32_u64(vtrn1q_u64(ab1, cd1));
  c = vreinterpretq_u32_u64(vtrn2q_u64(ab0, cd0));
  d = vreinterpretq_u32_u64(vtrn2q_u64(ab1, cd1));
}
inline void transpose(IVec (&rows)[Vec::kLanes]) {
  transpose_four(rows[0].lo, rows[1].lo, rows[2].lo, rows[3].lo);
  transpose_four(rows[0].hi, rows[1].hi, rows[2].hi, rows[3].hi);
  transpose_four(rows[4].lo, rows[5].lo, rows[6].lo, rows[7].lo);
  transpose_four(rows[4].hi, rows[5].hi, rows[6].hi, rows[7].hi);
  for (int i = 0; i < 4; ++i) {
    const uint32x4_t upper = rows[i].hi;
    rows[i].hi = rows[4 + i].lo;
    rows[4 + i].lo = upper;
  }
}

inline float reduce_max(Vec a) { return vmaxvq_f32(vmaxq_f32(a.lo, a.hi)); }
inline void reduce_four(Vec a, Vec b, Vec c, Vec d, float* sums) {
  const float32x4_t ab =
      vpaddq_f32(vaddq_f32(a.lo, a.hi), vaddq_f32(b.lo, b.hi));
  const float32x4_t cd =
      vpaddq_f32(vaddq_f32(c.lo, c.hi), vaddq_f32(d.lo, d.hi));
  vst1q_f32(sums, vpaddq_f32(ab, cd));
}

}  // namespace
}  // namespace quanto::kernels
