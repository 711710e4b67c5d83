// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_dot_pairs.h"
#include "quanto/kernels/cpu/linear_gemv_run.h"

// "gemv_bf16": a few rows of bfloat16 activations, or of their 8-bit codes, as
// products of pairs. The difference of a scaled and a shifted sum of an
// infinity is NaN: a problem with a sum that is not finite runs again by
// "gemv".

namespace quanto::kernels {
namespace {

/// 64 k in order to even ones and odd ones.
inline void part_even_odd(__m512i* low, __m512i* high) {
  alignas(64) uint16_t order[32];
  for (int i = 0; i < 32; ++i) order[i] = static_cast<uint16_t>(2 * i);
  const __m512i even = _mm512_load_si512(order);
  const __m512i odd = _mm512_add_epi16(even, _mm512_set1_epi16(1));
  const __m512i first = *low;
  *low = _mm512_permutex2var_epi16(first, even, *high);
  *high = _mm512_permutex2var_epi16(first, odd, *high);
}

/// The input of the call, in tiles of at most `tile_rows`. kPacked: whether it
/// is for packed weights, whose cells hold even and odd k and which take sums;
/// else cells are in order.
template <bool kPacked>
DotInput pair_input(const LinearProblem& problem, const LinearArgs& args,
                    int64_t tile_rows, Executor& executor) {
  DotInput input = {};
  with_terms(problem, args, [&](auto load_terms) {
    if constexpr (decltype(load_terms)::kTerms == 1) {
      input = dot_input(
          problem, args, dot_tiles(problem, tile_rows, 2), kPacked, executor,
          [&](int64_t row, int64_t k, int64_t count, int8_t* cells) {
            const int64_t at = row * problem.k + k;
            __m512i low;
            __m512i high = _mm512_setzero_si512();
            load_terms(at, smaller(kVecPairsK, count), &low);
            if (count > kVecPairsK) {
              load_terms(at + kVecPairsK, count - kVecPairsK, &high);
            }
            if (kPacked) part_even_odd(&low, &high);
            _mm512_storeu_si512(cells, low);
            _mm512_storeu_si512(cells + kVecBytes, high);
          });
    }
  });
  return input;
}

/// Sets *finite to false if one of `vectors` times `rows` sums, kUnitRows
/// apart, is not finite.
inline void watch_finite(const float* sums, int vectors, int rows,
                         bool* finite) {
  for (int i = 0; i < vectors; ++i) {
    if (!all_finite(sums + i * kUnitRows, rows)) {
      __atomic_store_n(finite, false, __ATOMIC_RELAXED);
    }
  }
}

/// Dots of linear_gemv_run.h that see whether all sums are finite.
template <int kBits>
struct PairPlanes : PackedDots<PairProducts<kBits>> {
  using Base = PackedDots<PairProducts<kBits>>;

  template <int kRows, int kCount>
  void dot(const uint8_t* data, int64_t k, const UnitScales& scales,
           int64_t row, int64_t m0, float* sums) const {
    Base::template dot<kRows, kCount>(data, k, scales, row, m0, sums);
    watch_finite(sums, kCount * Base::kPlanes, kRows, finite);
  }

  bool* finite;
};

template <DType kStorage>
struct PairBytes : ByteDots {
  template <int kRows, int kCount>
  void dot(const uint8_t* data, int64_t k, int64_t m0, float* sums) const {
    dot_byte_pairs<kStorage, kRows, kCount>(data, k, input, m0, sums);
    watch_finite(sums, kCount, kRows, finite);
  }

  DotInput input;
  bool* finite;
};

bool gemv_bf16_supports(const LinearProblem& problem) {
  const int64_t bits = bits_of(problem.weight);
  // One row does not pay for making pairs of 8-bit codes.
  return takes_few_rows(problem) && terms_of(problem.input) == 1 &&
         (bits < 8 || problem.m > 1) && problem.n % (8 / bits) == 0 &&
         (problem.group_size % kDotGroup == 0 ||
          problem.group_size == problem.k);
}

void gemv_bf16_run(const LinearProblem& problem, const LinearArgs& args,
                   Executor& executor) {
  bool finite = true;
  const auto run_packed = [&](auto dots) {
    dots.input = pair_input<true>(problem, args, dots.kM, executor);
    dots.finite = &finite;
    run_planes(problem, args, executor, dots);
  };
  const auto run_codes = [&](auto stored) {
    using Dots = PairBytes<decltype(stored)::value>;
    run_bytes(
        problem, args, executor,
        Dots{
            {}, pair_input<false>(problem, args, Dots::kM, executor), &finite});
  };
  switch (problem.weight) {
    case QTypeId::kQInt2:
      run_packed(PairPlanes<2>{});
      break;
    case QTypeId::kQInt4:
      run_packed(PairPlanes<4>{});
      break;
    case QTypeId::kQInt8:
      run_codes(Tag<DType::kInt8>{});
      break;
    case QTypeId::kQFloat8E4M3FN:
      run_codes(Tag<DType::kFloat8E4M3FN>{});
      break;
    case QTypeId::kQFloat8E5M2:
      run_codes(Tag<DType::kFloat8E5M2>{});
      break;
    case QTypeId::kQFloat8E4M3FNUZ:
      run_codes(Tag<DType::kFloat8E4M3FNUZ>{});
      break;
  }
  if (!finite) gemv_run(problem, args, executor);
}

}  // namespace
}  // namespace quanto::kernels
