// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_gemv_scales.h"
#include "quanto/kernels/cpu/linear_terms.h"

// Pairs of bfloat16: codes as bfloat16, and activations in the order in which
// codes leave their bytes.

namespace quanto::kernels {
namespace {

/// The codes in the low bits of the index of a 32-entry table, as bfloat16.
template <int kBits>
struct CodeTable {
  alignas(64) uint16_t values[32];

  constexpr CodeTable() : values() {
    for (int i = 0; i < 32; ++i) {
      const auto code = static_cast<float>(i & ((1 << kBits) - 1));
      values[i] =
          static_cast<uint16_t>(__builtin_bit_cast(uint32_t, code) >> 16);
    }
  }
};
template <int kBits>
constexpr CodeTable<kBits> kCodeTable;

/// k of one row that are multiplied at once; half a vector of bytes, so that a
/// vector holds two rows and groups of any multiple of 32 fit.
constexpr int64_t kPairK = kVecPairsK;

/// The input of the call, in the workspace.
struct PairInput {
  uint16_t* x;  ///< [m][padded]: of each 32 k the 16 even ones, then the odd
  float* sums;  ///< of the groups: [m][chunks * kGroupChunk], 0 past the last
  int64_t padded;
  int64_t padded_groups;
};

/// The rows of the input, from what stores their only term.
template <typename LoadTerms>
void pack_pairs(const LinearProblem& problem, LoadTerms load_terms,
                const PairInput& out) {
  // Even words of a vector to its lower half.
  const __m512i order = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13,
                                         11, 9, 7, 5, 3, 1, 30, 28, 26, 24, 22,
                                         20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  for (int64_t m = 0; m < problem.m; ++m) {
    for (int64_t k = 0; k < problem.k; k += kPairK) {
      __m512i x;
      load_terms(m * problem.k + k, smaller(kPairK, problem.k - k), &x);
      _mm512_storeu_si512(out.x + m * out.padded + k,
                          _mm512_permutexvar_epi16(order, x));
    }
  }
}

inline PairInput pair_input(const LinearProblem& problem,
                            const LinearArgs& args, Executor& executor) {
  const int64_t padded = round_up(problem.k, kPairK);
  const int64_t groups = problem.k / problem.group_size;
  const int64_t padded_groups = round_up(groups, kGroupChunk);
  auto* room = executor.workspace(
      static_cast<size_t>(problem.m * (padded * 2 + padded_groups * 4)));
  PairInput input = {reinterpret_cast<uint16_t*>(room),
                     reinterpret_cast<float*>(room + problem.m * padded * 2),
                     padded, padded_groups};
  with_terms(problem, args, [&](auto load_terms) {
    if constexpr (decltype(load_terms)::kTerms == 1) {
      pack_pairs(problem, load_terms, input);
    }
  });
  sum_groups(problem, args, padded_groups, input.sums);
  return input;
}

}  // namespace
}  // namespace quanto::kernels
