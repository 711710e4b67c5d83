// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_decode.h"

// Activations as bfloat16 terms: every element is the sum of one, two or three
// bfloat16 numbers.
//
// A term takes the sign, the exponent and the first 8 bits of what the terms
// before it left, so nothing is rounded, and none is larger than the element.
// Three terms hold the 24 bits of fp32 and two the 11 of fp16; codes of every
// 8-bit type need one. Instructions that take subnormal bfloat16 numbers for 0
// lose less than 2^-125 of an element. The later terms of an infinity or a NaN
// are NaN.

namespace quanto::kernels {
namespace {

/// k of a vector of bfloat16 numbers.
constexpr int64_t kVecPairsK = 32;

/// The upper halves of the lanes of two vectors, in their order.
inline __m512i upper_halves(Vec low, Vec high) {
  const __m256i l = _mm512_cvtepi32_epi16(shift_right(as_int(low), 16).v);
  const __m256i h = _mm512_cvtepi32_epi16(shift_right(as_int(high), 16).v);
  return _mm512_inserti64x4(_mm512_castsi256_si512(l), h, 1);
}

/// Elements [i, i + count) of what `load_at` loads, count <= kVecPairsK, zeros
/// past them.
template <typename Load>
inline void load_two(Load load_at, int64_t i, int64_t count, Vec* low,
                     Vec* high) {
  *low = load_at(i, static_cast<int>(smaller(kLanes, count)));
  *high = count <= kLanes
              ? zero()
              : load_at(i + kLanes, static_cast<int>(count - kLanes));
}

/// Each of these stores the terms of elements [i, i + count) of the input,
/// count <= kVecPairsK, as vectors of kVecPairsK, zeros past the last.
struct Bfloat16Terms {
  static constexpr int kTerms = 1;
  const uint16_t* x;

  void operator()(int64_t i, int64_t count, __m512i* terms) const {
    const auto mask =
        static_cast<__mmask32>(~uint32_t{0} >> (kVecPairsK - count));
    terms[0] = _mm512_maskz_loadu_epi16(mask, x + i);
  }
};

template <DType kStorage>
struct CodeTerms {
  static constexpr int kTerms = 1;
  CodeLoader<kStorage> load_at;

  void operator()(int64_t i, int64_t count, __m512i* terms) const {
    Vec low;
    Vec high;
    load_two(load_at, i, count, &low, &high);
    terms[0] = upper_halves(low, high);
  }
};

/// The first 8 bits of a number, which keeps the rest.
inline Vec take_term(Vec* rest) {
  const Vec term = as_float(iand(as_int(*rest), ibroadcast(0xffff0000)));
  *rest = sub(*rest, term);
  return term;
}

template <DType kFloat>
struct SplitTerms {
  static constexpr int kTerms = terms_of(kFloat);
  const void* x;

  Vec load_at(int64_t i, int count) const {
    return count == kLanes ? Element<kFloat>::load(x, i, All{})
                           : Element<kFloat>::load(x, i, Some{count});
  }

  void operator()(int64_t i, int64_t count, __m512i* terms) const {
    Vec low;
    Vec high;
    load_two([this](int64_t at, int lanes) { return load_at(at, lanes); }, i,
             count, &low, &high);
    QUANTO_UNROLL for (int t = 0; t < kTerms; ++t) {
      const Vec l = take_term(&low);
      const Vec h = take_term(&high);
      terms[t] = upper_halves(l, h);
    }
  }
};

/// Calls body with what stores the terms of the input.
template <typename Body>
inline void with_terms(const LinearProblem& problem, const LinearArgs& args,
                       Body body) {
  switch (problem.input) {
    case DType::kFloat32:
      return body(SplitTerms<DType::kFloat32>{args.input});
    case DType::kFloat16:
      return body(SplitTerms<DType::kFloat16>{args.input});
    case DType::kBFloat16:
      return body(Bfloat16Terms{static_cast<const uint16_t*>(args.input)});
    default:
      return with_storage(problem.input, [&](auto stored) {
        body(CodeTerms<decltype(stored)::value>{
            {static_cast<const uint8_t*>(args.input)}});
      });
  }
}

}  // namespace
}  // namespace quanto::kernels
