// SPDX-License-Identifier: Apache-2.0
#include "quanto/scale/hqq.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>
#include <vector>

#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/scale/range.h"
#include "quanto/scale/rounding.h"

namespace quanto::scale {
namespace {

/// Elements of one task, so that a task is worth a thread.
constexpr int64_t kGrainElements = 16384;

/// The weight and the state of one search. Codes come from the kernel that will
/// make the final ones, with the shift as it will be stored.
struct Search {
  const void* base;
  DType dtype;
  GroupLayout layout;
  int bits;
  const void* scale;
  std::vector<uint8_t> codes;
  std::vector<unsigned char> shift;  ///< of dtype
  std::vector<double> row_errors;    ///< sum of |w - dequantized|
  std::vector<float> next_shift;
};

/// Elements of a row that are worked on together, in loops of fixed length that
/// a compiler turns into vector code.
constexpr int kBlock = 64;
using Block = std::array<float, kBlock>;

/// x^exponent for x >= 0 to about 1e-6; some large number for x = 0 and a
/// negative exponent. Straight-line, so that it vectorises.
float power(float x, float exponent) {
  // log2: x = 2^e * m with m in [sqrt(1/2), sqrt(2)), then the series of
  // log((1 + s) / (1 - s)).
  constexpr int32_t kSqrtHalf = 0x3f3504f3;
  const auto bits = std::bit_cast<int32_t>(x);
  const int32_t e = (bits - kSqrtHalf) >> 23;
  const auto m = std::bit_cast<float>(bits - e * (1 << 23));
  const float s = (m - 1.0F) / (m + 1.0F);
  const float t = s * s;
  const float series =
      s *
      (2.88539008F + t * (0.961796694F + t * (0.577078016F + t * 0.41219858F)));
  const float log2 = static_cast<float>(e) + series;
  // exp2: the nearest integer goes to the exponent, the rest into the series
  // of exp.
  const float y = std::min(std::max(log2 * exponent, -126.0F), 126.0F);
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds
  const float shifted = y + kRound;
  const int32_t k = std::bit_cast<int32_t>(shifted) - 0x4b400000;
  const float f = (y - (shifted - kRound)) * std::numbers::ln2_v<float>;
  const float exp =
      1.0F +
      f * (1.0F + f * (0.5F + f * (0.166666667F +
                                   f * (0.0416666667F + f * 0.00833333333F))));
  return exp * std::bit_cast<float>((k + 127) << 23);
}

/// Sums of the first `count` elements, in eight interleaved parts.
double sum(const Block& values, int count) {
  std::array<double, 8> parts{};
  int i = 0;
  for (; i + 8 <= count; i += 8) {
    for (size_t lane = 0; lane < 8; ++lane) {
      parts[lane] += static_cast<double>(values[static_cast<size_t>(i) + lane]);
    }
  }
  for (; i < count; ++i)
    parts[0] += static_cast<double>(values[static_cast<size_t>(i)]);
  return std::accumulate(parts.begin(), parts.end(), 0.0);
}

struct RowSums {
  double error = 0.0;
  double shift = 0.0;
};

/// The block's error under the current shift, and the shifts that would make
/// each element exact once the shrunk error (the proximal operator of the l_p
/// norm, the sign kept) is taken out of the weight: scale * q - (w - shrunk).
RowSums refine(const Block& w, const Block& q, int count, float step,
               float offset, float exponent, float inverse_beta) {
  Block errors, shifts;
  for (size_t i = 0; i < kBlock; ++i) {
    const float scaled = step * q[i];
    const float e = w[i] - (scaled - offset);
    const float magnitude = std::fabs(e);
    const float rest = magnitude - inverse_beta * power(magnitude, exponent);
    const float shrunk = std::copysign(rest > 0.0F ? rest : 0.0F, e);
    errors[i] = magnitude;
    shifts[i] = scaled - (w[i] - shrunk);
  }
  return {sum(errors, count), sum(shifts, count)};
}

/// One group row: its error, and the mean of the shifts for next_shift.
void refine_row(Search& search, int64_t row, float exponent,
                float inverse_beta) {
  const GroupLayout& layout = search.layout;
  const float step = load(search.scale, search.dtype, row);
  const float offset = load(search.shift.data(), search.dtype, row);
  RowSums sums;
  Block w{}, q{};
  for (int64_t begin = 0; begin < layout.group_size; begin += kBlock) {
    const int64_t count = std::min<int64_t>(kBlock, layout.group_size - begin);
    for (int64_t i = 0; i < count; ++i) {
      const auto place = static_cast<size_t>(i);
      w[place] =
          load(search.base, search.dtype, layout.base_index(row, begin + i));
      q[place] = static_cast<float>(
          search.codes[static_cast<size_t>(layout.code_index(row, begin + i))]);
    }
    const RowSums part = refine(w, q, static_cast<int>(count), step, offset,
                                exponent, inverse_beta);
    sums.error += part.error;
    sums.shift += part.shift;
  }
  search.row_errors[static_cast<size_t>(row)] = sums.error;
  search.next_shift[static_cast<size_t>(row)] =
      static_cast<float>(sums.shift / static_cast<double>(layout.group_size));
}

/// Quantizes with the current shift and returns the sum of absolute errors;
/// next_shift is ready for the following iteration.
double evaluate(Search& search, float exponent, float inverse_beta,
                Executor& executor) {
  kernels::kernels().quantize_affine(
      search.base, search.dtype, search.layout, search.bits, search.scale,
      search.shift.data(), kernels::ShiftKind::kFloat, search.codes.data(),
      executor);
  const int64_t grain =
      std::max<int64_t>(1, kGrainElements / search.layout.group_size);
  executor.parallel_for(search.layout.rows(), grain,
                        [&](int64_t begin, int64_t end) {
                          for (int64_t row = begin; row < end; ++row) {
                            refine_row(search, row, exponent, inverse_beta);
                          }
                        });
  return std::accumulate(search.row_errors.begin(), search.row_errors.end(),
                         0.0);
}

}  // namespace

void hqq(const void* base, DType dtype, GroupLayout layout, int bits,
         const HqqOptions& options, void* scale, void* shift,
         Executor& executor) {
  range_scale("hqq_scale", base, dtype, layout, bits, scale, shift, executor);
  if (layout.numel() == 0) return;

  const auto rows = static_cast<size_t>(layout.rows());
  const size_t shift_bytes = rows * static_cast<size_t>(size_of(dtype));
  Search search{base,
                dtype,
                layout,
                bits,
                scale,
                std::vector<uint8_t>(static_cast<size_t>(layout.numel())),
                std::vector<unsigned char>(shift_bytes),
                std::vector<double>(rows),
                std::vector<float>(rows)};
  std::memcpy(search.shift.data(), shift, shift_bytes);

  const float exponent = options.lp_norm - 1.0F;
  float beta = options.beta;
  double best = evaluate(search, exponent, 1.0F / beta, executor);
  for (int i = 0; i < options.iterations; ++i) {
    for (size_t row = 0; row < rows; ++row) {
      store(search.shift.data(), dtype, static_cast<int64_t>(row),
            search.next_shift[row]);
    }
    beta *= options.kappa;
    const double error = evaluate(search, exponent, 1.0F / beta, executor);
    if (!(error < best)) break;
    best = error;
    std::memcpy(shift, search.shift.data(), shift_bytes);
  }
}

}  // namespace quanto::scale
