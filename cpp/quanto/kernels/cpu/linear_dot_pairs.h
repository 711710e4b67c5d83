// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_dot_packed.h"
#include "quanto/kernels/cpu/linear_float8_pairs.h"
#include "quanto/kernels/cpu/linear_pairs.h"
#include "quanto/kernels/cpu/linear_terms.h"

// Products of bfloat16 pairs. Codes are exact in bfloat16, so neither operand
// is rounded.

namespace quanto::kernels {
namespace {

/// sum + the products of 32 weights with as many of x.
inline Vec dot_pairs(Vec sum, __m512i w, const int8_t* x) {
  return {_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(w),
                           reinterpret_cast<__m512bh>(_mm512_loadu_si512(x)))};
}

/// Products of linear_dot_packed.h. Of the two cells of a vector one holds even
/// k and one odd, as the bytes of codes leave them.
template <int kPackedBits>
struct PairProducts {
  static constexpr int kBits = kPackedBits;
  static constexpr int kCells = 2;
  static constexpr bool kHasUnits = false;
  static constexpr float unit(int /*plane*/) { return 1; }
  struct Weights {
    __m512i even;
    __m512i odd;
  };
  using Sum = Vec;

  static Weights weights(IVec bytes, int plane) {
    const __m512i table = _mm512_load_si512(kCodeTable<kBits>.values);
    const auto from = static_cast<unsigned>(plane * kBits);
    return {
        _mm512_permutexvar_epi16(_mm512_srli_epi16(bytes.v, from), table),
        _mm512_permutexvar_epi16(_mm512_srli_epi16(bytes.v, 8 + from), table)};
  }
  static Sum none() { return zero(); }
  static Vec value(Sum sum) { return sum; }

  template <int kM, int kVectors>
  QUANTO_INLINE static Sum add(Sum sum, const Weights (&w)[kVectors],
                               const int8_t* x) {
    unrolled<kVectors>([&](int v) QUANTO_INLINE_BODY {
      const int8_t* cells = x + v * kM * kCells * kVecBytes;
      sum = dot_pairs(sum, w[v].even, cells);
      sum = dot_pairs(sum, w[v].odd, cells + kVecBytes);
    });
    return sum;
  }
};

/// kVecPairsK 8-bit codes as bfloat16; or the first `count`, the rest 0.
template <DType kStorage>
inline __m512i load_pairs(const uint8_t* p) {
  if constexpr (kStorage == DType::kInt8) {
    const Vec low = to_float(sign_extend_words(load_bytes(p)));
    const Vec high = to_float(sign_extend_words(load_bytes(p + kLanes)));
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high.v, low.v));
  } else {
    return float8_as_bf16<kStorage>(_mm512_cvtepu8_epi16(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
  }
}
template <DType kStorage>
inline __m512i load_pairs_tail(const uint8_t* p, int64_t count) {
  alignas(64) uint8_t part[kVecPairsK] = {};
  __builtin_memcpy(part, p, static_cast<size_t>(count));
  return load_pairs<kStorage>(part);
}

/// kRows rows of 8-bit codes, k apart; the two cells of a vector of activations
/// are in order. Scales are left to the caller.
template <DType kStorage, int kRows, int kM>
QUANTO_NOINLINE void dot_byte_pairs(const uint8_t* data, int64_t k,
                                    const DotInput& input, int64_t first_m,
                                    float* sums) {
  Vec acc[kM][kRows];
  unrolled<kM, kRows>([&](int m, int r)
                          QUANTO_INLINE_BODY { acc[m][r] = zero(); });
  const int8_t* x = input.x + first_m * input.row_bytes;
  const auto multiply = [&](const int8_t* cells,
                            auto load_codes) QUANTO_INLINE_BODY {
    unrolled<kRows>([&](int r) QUANTO_INLINE_BODY {
      const __m512i w = load_codes(r);
      unrolled<kM>([&](int m) QUANTO_INLINE_BODY {
        acc[m][r] = dot_pairs(acc[m][r], w, cells + m * 2 * kVecBytes);
      });
    });
  };
  int64_t i = 0;
  for (; i + kVecBytes <= k; i += kVecBytes, x += kM * 2 * kVecBytes) {
    prefetch_rows<kRows>(data, k, i, kVecBytes);
    unrolled<2>([&](int half) QUANTO_INLINE_BODY {
      multiply(x + half * kVecBytes, [&](int r) QUANTO_INLINE_BODY {
        return load_pairs<kStorage>(data + r * k + i + half * kVecPairsK);
      });
    });
  }
  for (int half = 0; i < k; ++half, i += kVecPairsK) {
    const int64_t count = smaller(kVecPairsK, k - i);
    multiply(x + half * kVecBytes, [&](int r) QUANTO_INLINE_BODY {
      return load_pairs_tail<kStorage>(data + r * k + i, count);
    });
  }
  unrolled<kM>([&](int m) QUANTO_INLINE_BODY {
    reduce_all(acc[m], sums + m * kUnitRows);
  });
}

}  // namespace
}  // namespace quanto::kernels
