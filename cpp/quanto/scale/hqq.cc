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

/// Elements of a row that are worked on together: as many as the widest
/// registers have lanes, and several narrower registers.
constexpr size_t kLanes = 16;
using Floats [[gnu::vector_size(kLanes * 4)]] = float;
using Ints [[gnu::vector_size(kLanes * 4)]] = int32_t;
using Words [[gnu::vector_size(kLanes * 2)]] = uint16_t;
using Bytes [[gnu::vector_size(kLanes)]] = uint8_t;
using Doubles [[gnu::vector_size(kLanes * 8)]] = double;

/// x^exponent for x >= 0 to about 1e-6; some large number for x = 0 and a
/// negative exponent.
QUANTO_INLINE Floats power(Floats x, float exponent) {
  // log2: x = 2^e * m with m in [sqrt(1/2), sqrt(2)), then the series of
  // log((1 + s) / (1 - s)).
  constexpr int32_t kSqrtHalf = 0x3f3504f3;
  const auto bits = std::bit_cast<Ints>(x);
  const Ints e = (bits - kSqrtHalf) >> 23;
  const auto m = std::bit_cast<Floats>(bits - e * (1 << 23));
  const Floats s = (m - 1.0F) / (m + 1.0F);
  const Floats t = s * s;
  const Floats series =
      s *
      (2.88539008F + t * (0.961796694F + t * (0.577078016F + t * 0.41219858F)));
  const Floats log2 = __builtin_convertvector(e, Floats) + series;
  // exp2: the nearest integer goes to the exponent, the rest into the series
  // of exp.
  Floats y = log2 * exponent;
  y = y > -126.0F ? y : Floats{} - 126.0F;
  y = y < 126.0F ? y : Floats{} + 126.0F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds
  const Floats shifted = y + kRound;
  const Ints k = std::bit_cast<Ints>(shifted) - 0x4b400000;
  const Floats f = (y - (shifted - kRound)) * std::numbers::ln2_v<float>;
  const Floats exp =
      1.0F +
      f * (1.0F + f * (0.5F + f * (0.166666667F +
                                   f * (0.0416666667F + f * 0.00833333333F))));
  return exp * std::bit_cast<Floats>((k + 127) << 23);
}

/// Sums in interleaved parts: floats over a few vectors, then doubles.
struct Sums {
  Floats recent{};
  Doubles parts{};
};

QUANTO_INLINE void settle(Sums& sums) {
  sums.parts += __builtin_convertvector(sums.recent, Doubles);
  sums.recent = Floats{};
}

QUANTO_INLINE double total(const Doubles& parts) {
  double sum = 0.0;
  for (size_t i = 0; i < kLanes / 2; ++i)
    sum += parts[i] + parts[i + kLanes / 2];
  return sum;
}

/// One group row, its elements and codes one after the other.
struct Row {
  const unsigned char* base;
  DType dtype;
  const uint8_t* codes;
  size_t width;
  float step;
  float offset;
};

/// The kLanes elements at `base`, finite ones.
QUANTO_INLINE Floats elements(const unsigned char* base, DType dtype) {
  if (dtype == DType::kFloat32) {
    Floats values;
    std::memcpy(&values, base, sizeof(values));
    return values;
  }
  Words words;
  std::memcpy(&words, base, sizeof(words));
  const Ints bits = __builtin_convertvector(words, Ints);
  if (dtype == DType::kBFloat16) return std::bit_cast<Floats>(bits << 16);
  // As the bits of an fp32 number it is too small by the difference of the
  // exponents' biases, subnormal ones too.
  const Ints wide = (bits & 0x7fff) << 13 | (bits & 0x8000) << 16;
  return std::bit_cast<Floats>(wide) * 0x1p112F;
}

/// The elements from `i` on and their codes, `count` of them; then zeros.
QUANTO_INLINE void load_vectors(const Row& row, size_t i, size_t count,
                                Floats& w, Floats& q) {
  const auto size = static_cast<size_t>(size_of(row.dtype));
  const unsigned char* base = row.base + i * size;
  Bytes codes{};
  if (count == kLanes) {
    std::memcpy(&codes, row.codes + i, kLanes);
    w = elements(base, row.dtype);
  } else {
    std::array<unsigned char, sizeof(Floats)> padded{};
    std::memcpy(padded.data(), base, count * size);
    std::memcpy(&codes, row.codes + i, count);
    w = elements(padded.data(), row.dtype);
  }
  // Bytes that become 32 bits in one step go one by one in GCC 12.
  const Words wide = __builtin_convertvector(codes, Words);
  q = __builtin_convertvector(__builtin_convertvector(wide, Ints), Floats);
}

/// What is left of errors of these magnitudes, with the signs of `e`.
QUANTO_INLINE Floats shrunk(const Shrinkage& shrinkage, Floats magnitude,
                            Floats e) {
  const Floats rest =
      magnitude - shrinkage.inverse_beta * power(magnitude, shrinkage.exponent);
  const Floats positive = rest > 0.0F ? rest : Floats{};
  return e < 0.0F ? -positive : positive;
}

struct Refined {
  double error = 0.0;    ///< sum of |e|
  double shift = 0.0;    ///< of the shifts
  float largest = 0.0F;  ///< |e|
};

/// A row's errors e under its shift, `offset`, and the shifts that would make
/// each element exact once its shrunk error is taken out of the weight:
/// step * q - (w - shrunk). With `shrinkage` null all errors shrink to 0.
QUANTO_CLONES Refined refine(const Row& row, const Shrinkage* shrinkage) {
  constexpr size_t kRecent = 8 * kLanes;
  constexpr Ints kLaneIds = {0, 1, 2,  3,  4,  5,  6,  7,
                             8, 9, 10, 11, 12, 13, 14, 15};
  Sums error, shift;
  Floats largest{};
  for (size_t i = 0; i < row.width; i += kLanes) {
    const size_t count = std::min(kLanes, row.width - i);
    Floats w, q;
    load_vectors(row, i, count, w, q);
    const Floats scaled = row.step * q;
    const Floats e = w - (scaled - row.offset);
    Floats magnitude = e < 0.0F ? -e : e;
    if (shrinkage != nullptr) w -= shrunk(*shrinkage, magnitude, e);
    Floats exact = scaled - w;
    if (count < kLanes) {
      const Ints inside = kLaneIds < static_cast<int32_t>(count);
      magnitude = inside ? magnitude : Floats{};
      exact = inside ? exact : Floats{};
    }
    largest = magnitude > largest ? magnitude : largest;
    error.recent += magnitude;
    shift.recent += exact;
    if ((i + kLanes) % kRecent == 0 || i + kLanes >= row.width) {
      settle(error);
      settle(shift);
    }
  }
  Refined refined{total(error.parts), total(shift.parts)};
  for (size_t i = 0; i < kLanes; ++i) {
    refined.largest = std::max(refined.largest, largest[i]);
  }
  return refined;
}

/// Refines group rows whose elements and codes are given: their errors, and the
/// means of the shifts for next_shift. Powers are taken where the row before
/// needed them; where none is needed they change nothing.
void refine_rows(Search& search, int64_t first, int64_t count,
                 const unsigned char* base, const uint8_t* codes,
                 const Shrinkage& shrinkage) {
  const int64_t width = search.layout.group_size;
  const int64_t size = size_of(search.dtype);
  bool shrinks = false;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = first + i;
    const Row elements{base + i * width * size,
                       search.dtype,
                       codes + i * width,
                       static_cast<size_t>(width),
                       load(search.scale, search.dtype, row),
                       load(search.shift.data(), search.dtype, row)};
    Refined refined = refine(elements, shrinks ? &shrinkage : nullptr);
    const bool needed = refined.largest >= shrinkage.nothing_below;
    if (needed && !shrinks) refined = refine(elements, &shrinkage);
    shrinks = needed;
    search.row_errors[static_cast<size_t>(row)] = refined.error;
    store(search.next_shift.data(), search.dtype, row,
          static_cast<float>(refined.shift / static_cast<double>(width)));
  }
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
void refine_range(Search& search, int64_t begin, int64_t end,
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
    refine_rows(search, first, count, base, codes.data(), shrinkage);
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
                          refine_range(search, begin, end, shrinkage);
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
