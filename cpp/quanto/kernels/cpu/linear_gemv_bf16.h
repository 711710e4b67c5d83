// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_gemv_run.h"
#include "quanto/kernels/cpu/linear_pairs.h"

// "gemv_bf16": up to four rows of bfloat16 activations, or of their 8-bit
// codes, by 4- or 2-bit weights. Codes are exact in bfloat16, so products of
// pairs need no rounding of either operand; scales are applied to the fp32 sums
// of each group, and the shift to the sums of x: y += scale * sum(q * x) -
// shift * sum(x). Of an infinity that difference is NaN: a problem with a sum
// that is not finite runs again by "gemv".

namespace quanto::kernels {
namespace {

/// Rows of bytes at once, two to a vector.
constexpr int gemv_pairs(int planes, int m) {
  return planes * m <= 2 ? 4 : planes * m <= 4 ? 2 : 1;
}

/// kPairK bytes of each of two rows; or the first `bytes`, the rest 0.
inline __m512i load_pair(const uint8_t* low, const uint8_t* high) {
  const __m256i l = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(low));
  const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(high));
  return _mm512_inserti64x4(_mm512_castsi256_si512(l), h, 1);
}
inline __m512i load_pair_tail(const uint8_t* low, const uint8_t* high,
                              int64_t bytes) {
  const auto mask = static_cast<__mmask32>(~uint32_t{0} >> (kPairK - bytes));
  return _mm512_inserti64x4(
      _mm512_castsi256_si512(_mm256_maskz_loadu_epi8(mask, low)),
      _mm256_maskz_loadu_epi8(mask, high), 1);
}

/// 2 * kPairs rows of bytes, k apart, of which `rows` are there. sums: as
/// dot_planes; those of a missing row mean nothing.
template <int kBits, int kPairs, int kM>
QUANTO_NOINLINE void dot_pairs(const uint8_t* data, int64_t rows, int64_t k,
                               const UnitScales& scales, int64_t first_row,
                               const PairInput& input, int64_t first_m,
                               float* sums) {
  constexpr int kPlanes = 8 / kBits;
  const __m512i table = _mm512_load_si512(kCodeTable<kBits>.values);
  const uint8_t* low[kPairs];
  const uint8_t* high[kPairs];
  QUANTO_UNROLL for (int p = 0; p < kPairs; ++p) {
    low[p] = data + 2 * p * k;
    high[p] = 2 * p + 1 < rows ? low[p] + k : low[p];
  }
  __m512 total[kM][kPlanes][kPairs];
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
      QUANTO_UNROLL for (int p = 0; p < kPairs; ++p) {
        total[m][j][p] = _mm512_setzero_ps();
      }
    }
  }
  const uint16_t* x = input.x + first_m * input.padded;
  int64_t i = 0;
  for (int64_t group = 0; group < scales.groups; ++group) {
    scales.ahead->ask<kPlanes, 2 * kPairs>();
    prefetch_rows<2 * kPairs>(data, k, i, scales.group_size);
    __m512 acc[kM][kPlanes][kPairs];
    QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
      QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
        QUANTO_UNROLL for (int p = 0; p < kPairs; ++p) {
          acc[m][j][p] = _mm512_setzero_ps();
        }
      }
    }
    const auto step = [&](auto load_codes) {
      __m512bh even[kM];
      __m512bh odd[kM];
      QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
        const auto* from =
            reinterpret_cast<const __m256i*>(x + m * input.padded + i);
        even[m] = reinterpret_cast<__m512bh>(
            _mm512_broadcast_i64x4(_mm256_loadu_si256(from)));
        odd[m] = reinterpret_cast<__m512bh>(
            _mm512_broadcast_i64x4(_mm256_loadu_si256(from + 1)));
      }
      QUANTO_UNROLL for (int p = 0; p < kPairs; ++p) {
        const __m512i codes = load_codes(low[p] + i, high[p] + i);
        QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
          const auto w0 = reinterpret_cast<__m512bh>(_mm512_permutexvar_epi16(
              _mm512_srli_epi16(codes, j * kBits), table));
          const auto w1 = reinterpret_cast<__m512bh>(_mm512_permutexvar_epi16(
              _mm512_srli_epi16(codes, 8 + j * kBits), table));
          QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
            acc[m][j][p] = _mm512_dpbf16_ps(acc[m][j][p], w0, even[m]);
            acc[m][j][p] = _mm512_dpbf16_ps(acc[m][j][p], w1, odd[m]);
          }
        }
      }
    };
    const int64_t end = i + scales.group_size;
    for (; i + kPairK <= end; i += kPairK) step(load_pair);
    if (const int64_t tail = end - i; tail != 0) {
      step([=](const uint8_t* l, const uint8_t* h) {
        return load_pair_tail(l, h, tail);
      });
      i = end;
    }
    const float* scale = scales.scale + scales.place<kPlanes>(group, first_row);
    QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
      QUANTO_UNROLL for (int p = 0; p < kPairs; ++p) {
        const float* pair =
            scale + j * scales.kPlaneStride + 2 * p * scales.kRowStride;
        const Vec s = broadcast_halves(pair[0], pair[scales.kRowStride]);
        QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
          total[m][j][p] = _mm512_fmadd_ps(acc[m][j][p], s.v, total[m][j][p]);
        }
      }
    }
  }
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    const float* x_sums = input.sums + (first_m + m) * input.padded_groups;
    QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
      Vec row_sums[2 * kPairs];
      QUANTO_UNROLL for (int p = 0; p < kPairs; ++p) {
        const __m512 both = total[m][j][p];
        const Vec l = {_mm512_zextps256_ps512(_mm512_castps512_ps256(both))};
        const Vec h = {_mm512_zextps256_ps512(_mm512_extractf32x8_ps(both, 1))};
        const int64_t row = first_row + 2 * p;
        row_sums[2 * p] = sub(l, shift_sum(scales, j, row, x_sums));
        row_sums[2 * p + 1] = sub(h, shift_sum(scales, j, row + 1, x_sums));
      }
      reduce_all(row_sums, sums + (m * kPlanes + j) * kUnitRows);
    }
  }
}

/// False if a sum is not finite.
template <int kBits>
bool gemv_pairs_run(const LinearProblem& problem, const LinearArgs& args,
                    Executor& executor) {
  constexpr int kPlanes = 8 / kBits;
  const PairInput input = pair_input(problem, args, executor);
  const auto* data = static_cast<const uint8_t*>(args.data);
  const int64_t k = problem.k;
  const int64_t plane_rows = problem.n / kPlanes;
  bool finite = true;
  const auto unit = [&](int64_t first, const UnitScales& scales) {
    const int64_t rows = smaller(kUnitRows, plane_rows - first);
    for (int j = 0; j < kPlanes; ++j) {
      convert_scales(problem, args, j * plane_rows + first, rows, j, scales);
    }
    for_activation_rows<kPlanes == 4 ? 2 : 4>(
        problem.m, [&](int64_t m0, auto count) {
          constexpr int kM = decltype(count)::value;
          constexpr int kPairs = gemv_pairs(kPlanes, kM);
          float sums[kM * kPlanes * kUnitRows];
          const auto dot = [&](int64_t row, auto pairs) {
            dot_pairs<kBits, decltype(pairs)::value, kM>(
                data + (first + row) * k, rows - row, k, scales, row, input, m0,
                sums + row);
          };
          int64_t row = 0;
          for (; row + 2 * kPairs <= rows; row += 2 * kPairs) {
            dot(row, Constant<kPairs>{});
          }
          for (; row < rows; row += 2) dot(row, Constant<1>{});
          for (int m = 0; m < kM; ++m) {
            for (int j = 0; j < kPlanes; ++j) {
              const float* done = sums + (m * kPlanes + j) * kUnitRows;
              if (!all_finite(done, rows)) {
                __atomic_store_n(&finite, false, __ATOMIC_RELAXED);
              }
              write_outputs(problem, args, m0 + m, j * plane_rows + first, rows,
                            done);
            }
          }
        });
  };
  for_units(
      executor, ceil_div(plane_rows, kUnitRows),
      kPlanes * kUnitRows * k * problem.m, [&](int64_t begin, int64_t end) {
        ScalesAhead ahead;
        const UnitScales scales =
            unit_scales(problem, kPlanes, executor, &ahead);
        for (int64_t u = begin; u < end; ++u) {
          ahead.start(problem, args, kPlanes, plane_rows, (u + 1) * kUnitRows);
          unit(u * kUnitRows, scales);
        }
      });
  return finite;
}

bool gemv_bf16_supports(const LinearProblem& problem) {
  const int64_t bits = bits_of(problem.weight);
  return gemv_supports(problem) && terms_of(problem.input) == 1 && bits < 8 &&
         problem.n % (8 / bits) == 0 &&
         (problem.group_size % kPairK == 0 || problem.group_size == problem.k);
}

void gemv_bf16_run(const LinearProblem& problem, const LinearArgs& args,
                   Executor& executor) {
  const bool finite = problem.weight == QTypeId::kQInt4
                          ? gemv_pairs_run<4>(problem, args, executor)
                          : gemv_pairs_run<2>(problem, args, executor);
  if (!finite) gemv_run(problem, args, executor);
}

}  // namespace
}  // namespace quanto::kernels
