// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

// The vectors of vec.h, whose comments hold here too, as two NEON registers: 8
// lanes, so that 8 bytes are widened at a time.

namespace quanto::kernels {
namespace {

struct Vec {
  static constexpr int kLanes = 8;
  float32x4_t lo;
  float32x4_t hi;
};
struct IVec {
  uint32x4_t lo;
  uint32x4_t hi;
};
struct Mask {
  uint32x4_t lo;
  uint32x4_t hi;
};

/// The same bits.
inline IVec as_int(Vec a) {
  return {vreinterpretq_u32_f32(a.lo), vreinterpretq_u32_f32(a.hi)};
}
inline Vec as_float(IVec a) {
  return {vreinterpretq_f32_u32(a.lo), vreinterpretq_f32_u32(a.hi)};
}
inline int32x4_t as_signed(uint32x4_t a) { return vreinterpretq_s32_u32(a); }
inline uint32x4_t as_unsigned(int32x4_t a) { return vreinterpretq_u32_s32(a); }

/// The first `count` <= Vec::kLanes elements at p, the rest 0.
template <typename T>
struct Part {
  T at[Vec::kLanes] = {};

  Part(const T* p, int count) {
    __builtin_memcpy(at, p, static_cast<size_t>(count) * sizeof(T));
  }
};

inline Vec broadcast(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
inline Vec zero() { return broadcast(0.0F); }
inline float first_lane(Vec a) { return vgetq_lane_f32(a.lo, 0); }
inline Vec load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
inline Vec load_tail(const float* p, int count) {
  return load(Part<float>(p, count).at);
}
inline void store(float* p, Vec a) {
  vst1q_f32(p, a.lo);
  vst1q_f32(p + 4, a.hi);
}
inline void store_tail(float* p, Vec a, int count) {
  float part[Vec::kLanes];
  store(part, a);
  __builtin_memcpy(p, part, static_cast<size_t>(count) * sizeof(float));
}
inline Vec add(Vec a, Vec b) {
  return {vaddq_f32(a.lo, b.lo), vaddq_f32(a.hi, b.hi)};
}
inline Vec sub(Vec a, Vec b) {
  return {vsubq_f32(a.lo, b.lo), vsubq_f32(a.hi, b.hi)};
}
inline Vec mul(Vec a, Vec b) {
  return {vmulq_f32(a.lo, b.lo), vmulq_f32(a.hi, b.hi)};
}
inline Vec div(Vec a, Vec b) {
  return {vdivq_f32(a.lo, b.lo), vdivq_f32(a.hi, b.hi)};
}
inline Vec abs(Vec a) { return {vabsq_f32(a.lo), vabsq_f32(a.hi)}; }
inline Vec fma(Vec a, Vec b, Vec c) {
  return {vfmaq_f32(c.lo, a.lo, b.lo), vfmaq_f32(c.hi, a.hi, b.hi)};
}
inline Vec fnma(Vec a, Vec b, Vec c) {
  return {vfmsq_f32(c.lo, a.lo, b.lo), vfmsq_f32(c.hi, a.hi, b.hi)};
}
inline Vec round_even(Vec a) { return {vrndnq_f32(a.lo), vrndnq_f32(a.hi)}; }
inline float reduce_add(Vec a) { return vaddvq_f32(vaddq_f32(a.lo, a.hi)); }

inline Mask less(Vec a, Vec b) {
  return {vcltq_f32(a.lo, b.lo), vcltq_f32(a.hi, b.hi)};
}
inline Mask equal(Vec a, Vec b) {
  return {vceqq_f32(a.lo, b.lo), vceqq_f32(a.hi, b.hi)};
}
inline Mask is_nan(Vec a) {
  return {vmvnq_u32(vceqq_f32(a.lo, a.lo)), vmvnq_u32(vceqq_f32(a.hi, a.hi))};
}
inline Vec select(Mask mask, Vec yes, Vec no) {
  return {vbslq_f32(mask.lo, yes.lo, no.lo), vbslq_f32(mask.hi, yes.hi, no.hi)};
}
inline IVec select(Mask mask, IVec yes, IVec no) {
  return {vbslq_u32(mask.lo, yes.lo, no.lo), vbslq_u32(mask.hi, yes.hi, no.hi)};
}
inline bool any_nan(Vec a) {
  const Mask nan = is_nan(a);
  return vmaxvq_u32(vorrq_u32(nan.lo, nan.hi)) != 0;
}
/// b where a or b is a NaN, or both are zeros.
inline Vec min(Vec a, Vec b) { return select(less(a, b), a, b); }
inline Vec max(Vec a, Vec b) { return select(less(b, a), a, b); }

/// A NaN becomes 0.
inline IVec to_int(Vec a) {
  return {as_unsigned(vcvtnq_s32_f32(a.lo)), as_unsigned(vcvtnq_s32_f32(a.hi))};
}
inline Vec to_float(IVec a) {
  return {vcvtq_f32_s32(as_signed(a.lo)), vcvtq_f32_s32(as_signed(a.hi))};
}
inline IVec ibroadcast(int32_t x) {
  const uint32x4_t all = as_unsigned(vdupq_n_s32(x));
  return {all, all};
}
inline IVec iand(IVec a, IVec b) {
  return {vandq_u32(a.lo, b.lo), vandq_u32(a.hi, b.hi)};
}
inline IVec ior(IVec a, IVec b) {
  return {vorrq_u32(a.lo, b.lo), vorrq_u32(a.hi, b.hi)};
}
inline IVec iadd(IVec a, IVec b) {
  return {vaddq_u32(a.lo, b.lo), vaddq_u32(a.hi, b.hi)};
}
inline IVec isub(IVec a, IVec b) {
  return {vsubq_u32(a.lo, b.lo), vsubq_u32(a.hi, b.hi)};
}
// As operators, counts known to the compiler become immediates.
inline IVec shift_left(IVec a, int bits) {
  return {a.lo << bits, a.hi << bits};
}
inline IVec shift_right(IVec a, int bits) {
  return {a.lo >> bits, a.hi >> bits};
}
inline IVec shift_right(IVec a, IVec counts) {
  return {a.lo >> counts.lo, a.hi >> counts.hi};
}

inline Vec from_fp16(uint16x8_t h) {
  const float16x8_t half = vreinterpretq_f16_u16(h);
  return {vcvt_f32_f16(vget_low_f16(half)), vcvt_high_f32_f16(half)};
}
inline uint16x8_t to_fp16(Vec a) {
  return vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a.lo), a.hi));
}
inline Vec from_bf16(uint16x8_t h) {
  return as_float({vshll_n_u16(vget_low_u16(h), 16), vshll_high_n_u16(h, 16)});
}
inline IVec round_high_half(IVec a) {
  const IVec odd = iand(shift_right(a, 16), ibroadcast(1));
  return iadd(a, iadd(odd, ibroadcast(0x7fff)));
}
/// Round to nearest even; subnormals are kept, NaN becomes a quiet NaN.
inline uint16x8_t to_bf16(Vec a) {
  const IVec rounded =
      select(is_nan(a), ibroadcast(0x7fc00000), round_high_half(as_int(a)));
  return vshrn_high_n_u32(vshrn_n_u32(rounded.lo, 16), rounded.hi, 16);
}
inline Vec load_fp16(const uint16_t* p) { return from_fp16(vld1q_u16(p)); }
inline Vec load_fp16_tail(const uint16_t* p, int count) {
  return load_fp16(Part<uint16_t>(p, count).at);
}
inline Vec load_bf16(const uint16_t* p) { return from_bf16(vld1q_u16(p)); }
inline Vec load_bf16_tail(const uint16_t* p, int count) {
  return load_bf16(Part<uint16_t>(p, count).at);
}
inline void store16(uint16_t* p, uint16x8_t h) { vst1q_u16(p, h); }
inline void store_high_halves(uint16_t* p, IVec a, IVec b) {
  vst1q_u16(p, vshrn_high_n_u32(vshrn_n_u32(a.lo, 16), a.hi, 16));
  vst1q_u16(p + 8, vshrn_high_n_u32(vshrn_n_u32(b.lo, 16), b.hi, 16));
}
inline void store16_tail(uint16_t* p, uint16x8_t h, int count) {
  uint16_t part[Vec::kLanes];
  vst1q_u16(part, h);
  __builtin_memcpy(p, part, static_cast<size_t>(count) * sizeof(uint16_t));
}

inline IVec sign_extend_words(int16x8_t a) {
  return {as_unsigned(vmovl_s16(vget_low_s16(a))),
          as_unsigned(vmovl_high_s16(a))};
}
inline IVec load_u8(const uint8_t* p) {
  const uint16x8_t wide = vmovl_u8(vld1_u8(p));
  return {vmovl_u16(vget_low_u16(wide)), vmovl_high_u16(wide)};
}
inline IVec load_s8(const int8_t* p) {
  return sign_extend_words(vmovl_s8(vld1_s8(p)));
}
inline IVec load_u8_tail(const uint8_t* p, int count) {
  return load_u8(Part<uint8_t>(p, count).at);
}
inline IVec load_s8_tail(const int8_t* p, int count) {
  return load_s8(Part<int8_t>(p, count).at);
}
inline void store_u8(uint8_t* p, IVec a) {
  vst1_u8(p, vmovn_u16(vmovn_high_u32(vmovn_u32(a.lo), a.hi)));
}
inline uint8x8_t clamped_u8(IVec a) {
  return vqmovn_u16(
      vqmovun_high_s32(vqmovun_s32(as_signed(a.lo)), as_signed(a.hi)));
}
inline void store_clamped_u8(uint8_t* p, IVec a, IVec b, IVec c, IVec d) {
  vst1q_u8(p, vcombine_u8(clamped_u8(a), clamped_u8(b)));
  vst1q_u8(p + 16, vcombine_u8(clamped_u8(c), clamped_u8(d)));
}
inline void store_u8_tail(uint8_t* p, IVec a, int count) {
  uint8_t part[Vec::kLanes];
  store_u8(part, a);
  __builtin_memcpy(p, part, static_cast<size_t>(count));
}

}  // namespace
}  // namespace quanto::kernels
