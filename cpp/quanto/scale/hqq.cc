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

/// Elements of one task, so that a task is worth a thread, and of the rows
/// whose codes are held at a time.
constexpr int64_t kGrainElements = 16384;

/// The weight and the state of one search; shifts are of `dtype`.
struct Search {
  const void* base;
  DType dtype;
  GroupLayout layout;
  int bits;
  const unsigned char* scale;
  std::vector<unsigned char> shift;
  std::vector<unsigned char> next_shift;
  std::vector<double> row_errors;  ///< sum of |w - dequantized|
};

/// The proximal operator of the l_p norm: |e| less |e|^exponent * inverse_beta,
/// but at least 0, with the sign of e.
struct Shrinkage {
  float exponent;
  float inverse_beta;
  float nothing_below;  ///< smaller errors become 0, without a power

  Shrinkage(float lp_norm, float beta)
      : exponent(lp_norm - 1.0F),
        inverse_beta(1.0F / beta),
        // |e| = |e|^(p - 1) / beta, less a thousand times what power() may err.
        nothing_below(0.999F *
                      std::pow(inverse_beta, 1.0F / (2.0F - lp_norm))) {}
};

/// Elements of a row that are worked on together, in loops of fixed length that
/// a compiler turns into vector code.
constexpr int kBlock = 64;
using Block = std::array<float, kBlock>;

#if defined(__x86_64__)
/// Compiled for several instruction sets, of which the processor's is taken at
/// run time; without fused multiply-adds (CMakeLists.txt) all give the same.
#define QUANTO_CLONES \
  __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define QUANTO_CLONES
#endif
/// Part of each clone.
#define QUANTO_INLINE [[gnu::always_inline]] inline

/// x^exponent for x >= 0 to about 1e-6; some large number for x = 0 and a
/// negative exponent. Straight-line, so that it vectorises.
QUANTO_INLINE float power(float x, float exponent) {
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

/// Sums in interleaved parts, so that they are the same however wide a vector
/// is: of floats within a block, of doubles from block to block.
constexpr size_t kParts = 16;
using Sums = std::array<double, kParts>;

QUANTO_INLINE void add(const Block& values, Sums& sums) {
  std::array<float, kParts> parts{};
  for (size_t i = 0; i < kBlock; i += kParts) {
    for (size_t part = 0; part < kParts; ++part) {
      parts[part] += values[i + part];
    }
  }
  for (size_t part = 0; part < kParts; ++part) {
    sums[part] += static_cast<double>(parts[part]);
  }
}

QUANTO_INLINE double total(Sums sums) {
  for (size_t half = kParts / 2; half > 0; half /= 2) {
    for (size_t part = 0; part < half; ++part) sums[part] += sums[part + half];
  }
  return sums[0];
}

/// The first `count` elements at `base`, finite ones, and their codes.
QUANTO_INLINE void widen(const unsigned char* base, DType dtype,
                         const uint8_t* codes, size_t count, Block& w,
                         Block& q) {
  if (count < kBlock) w = q = {};
  std::array<uint16_t, kBlock> halves{};
  if (dtype == DType::kFloat32) {
    std::memcpy(w.data(), base, count * sizeof(float));
  } else {
    std::memcpy(halves.data(), base, count * sizeof(uint16_t));
  }
  if (dtype == DType::kBFloat16) {
    for (size_t i = 0; i < kBlock; ++i) {
      w[i] = std::bit_cast<float>(uint32_t{halves[i]} << 16);
    }
  } else if (dtype == DType::kFloat16) {
    for (size_t i = 0; i < kBlock; ++i) {
      // As the bits of an fp32 number it is too small by the difference of the
      // exponents' biases, subnormal ones too.
      const uint32_t magnitude = (halves[i] & 0x7fffU) << 13;
      const uint32_t sign = (halves[i] & 0x8000U) << 16;
      w[i] = std::bit_cast<float>(magnitude | sign) * 0x1p112F;
    }
  }
  std::array<uint8_t, kBlock> bytes{};
  std::memcpy(bytes.data(), codes, count);
  for (size_t i = 0; i < kBlock; ++i) q[i] = static_cast<float>(bytes[i]);
}

/// w less its error where that is not shrunk to nothing.
QUANTO_INLINE void take_out(const Shrinkage& shrinkage, const Block& errors,
                            Block& w) {
  int any = 0;
  for (const float e : errors) {
    any |= std::fabs(e) < shrinkage.nothing_below ? 0 : 1;
  }
  if (any == 0) return;
  for (size_t i = 0; i < kBlock; ++i) {
    const float magnitude = std::fabs(errors[i]);
    const float rest = magnitude - shrinkage.inverse_beta *
                                       power(magnitude, shrinkage.exponent);
    w[i] -= std::copysign(rest > 0.0F ? rest : 0.0F, errors[i]);
  }
}

struct RowSums {
  double error;
  double shift;
};

/// A row's error under the current shift, `offset`, and the shifts that would
/// make each element exact once its shrunk error is taken out of the weight:
/// step * q - (w - shrunk).
QUANTO_CLONES RowSums refine(const unsigned char* base, DType dtype,
                             const uint8_t* codes, size_t width, float step,
                             float offset, const Shrinkage& shrinkage) {
  const auto size = static_cast<size_t>(size_of(dtype));
  Sums error{}, shift{};
  Block w, q, values;
  for (size_t begin = 0; begin < width; begin += kBlock) {
    const size_t count = std::min<size_t>(kBlock, width - begin);
    widen(base + begin * size, dtype, codes + begin, count, w, q);
    for (size_t i = 0; i < kBlock; ++i) {
      q[i] *= step;
      values[i] = w[i] - (q[i] - offset);
    }
    take_out(shrinkage, values, w);
    for (float& e : values) e = std::fabs(e);
    for (size_t i = count; i < kBlock; ++i) values[i] = 0.0F;
    add(values, error);
    for (size_t i = 0; i < kBlock; ++i) values[i] = q[i] - w[i];
    for (size_t i = count; i < kBlock; ++i) values[i] = 0.0F;
    add(values, shift);
  }
  return {total(error), total(shift)};
}

/// One group row, its elements and codes one after the other: its error, and
/// the mean of the shifts for next_shift.
void refine_row(Search& search, int64_t row, const unsigned char* base,
                const uint8_t* codes, const Shrinkage& shrinkage) {
  const int64_t width = search.layout.group_size;
  const RowSums sums =
      refine(base, search.dtype, codes, static_cast<size_t>(width),
             load(search.scale, search.dtype, row),
             load(search.shift.data(), search.dtype, row), shrinkage);
  search.row_errors[static_cast<size_t>(row)] = sums.error;
  store(search.next_shift.data(), search.dtype, row,
        static_cast<float>(sums.shift / static_cast<double>(width)));
}

/// The elements of `count` group rows, one row after the other: where they lie
/// or, if the axis is the last, gathered in `room`.
const unsigned char* rows_of(const Search& search, int64_t first, int64_t count,
                             std::vector<unsigned char>& room) {
  const GroupLayout& layout = search.layout;
  const auto* base = static_cast<const unsigned char*>(search.base);
  const int64_t size = size_of(search.dtype);
  if (!layout.last_axis) return base + layout.base_index(first, 0) * size;
  room.resize(static_cast<size_t>(count * layout.group_size * size));
  unsigned char* out = room.data();
  for (int64_t row = first; row < first + count; ++row) {
    for (int64_t i = 0; i < layout.group_size; ++i, out += size) {
      std::memcpy(out, base + layout.base_index(row, i) * size,
                  static_cast<size_t>(size));
    }
  }
  return room.data();
}

/// Refines rows [begin, end), some at a time, so that their codes stay in the
/// cache and take no memory worth the name. The codes come from the kernel that
/// will make the final ones, with the shift as it will be stored.
void refine_rows(Search& search, int64_t begin, int64_t end,
                 const Shrinkage& shrinkage) {
  const int64_t width = search.layout.group_size;
  const int64_t size = size_of(search.dtype);
  const int64_t most =
      std::min(end - begin, std::max<int64_t>(1, kGrainElements / width));
  std::vector<uint8_t> codes(static_cast<size_t>(most * width));
  std::vector<unsigned char> room;
  SerialExecutor serial;
  for (int64_t first = begin; first < end; first += most) {
    const int64_t count = std::min(most, end - first);
    const unsigned char* base = rows_of(search, first, count, room);
    kernels::kernels().quantize_affine(
        base, search.dtype, {false, count, 1, width}, search.bits,
        search.scale + first * size, search.shift.data() + first * size,
        kernels::ShiftKind::kFloat, codes.data(), serial);
    for (int64_t i = 0; i < count; ++i) {
      refine_row(search, first + i, base + i * width * size,
                 codes.data() + i * width, shrinkage);
    }
  }
}

/// Quantizes with the current shift and returns the sum of absolute errors;
/// next_shift is ready for the following iteration.
double evaluate(Search& search, const Shrinkage& shrinkage,
                Executor& executor) {
  const int64_t grain =
      std::max<int64_t>(1, kGrainElements / search.layout.group_size);
  executor.parallel_for(search.layout.rows(), grain,
                        [&](int64_t begin, int64_t end) {
                          refine_rows(search, begin, end, shrinkage);
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
                static_cast<const unsigned char*>(scale),
                std::vector<unsigned char>(shift_bytes),
                std::vector<unsigned char>(shift_bytes),
                std::vector<double>(rows)};
  std::memcpy(search.shift.data(), shift, shift_bytes);

  float beta = options.beta;
  double best = evaluate(search, {options.lp_norm, beta}, executor);
  for (int i = 0; i < options.iterations; ++i) {
    search.shift.swap(search.next_shift);
    beta *= options.kappa;
    const double error = evaluate(search, {options.lp_norm, beta}, executor);
    if (!(error < best)) break;
    best = error;
    std::memcpy(shift, search.shift.data(), shift_bytes);
  }
}

}  // namespace quanto::scale
