// SPDX-License-Identifier: Apache-2.0
#include "quanto/scale/hqq.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/scale/hqq_row.h"
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

/// Refines group rows whose elements and codes are given: their errors, and the
/// means of the shifts for next_shift. Powers are taken where the row before
/// needed them; where none is needed they change nothing.
void refine_rows(Search& search, int64_t first, int64_t count,
                 const unsigned char* base, const uint8_t* codes,
                 const Shrinkage& shrinkage) {
  const int64_t width = search.layout.group_size;
  const int64_t size = size_of(search.dtype);
  const Refine refine = refine_of(search.dtype);
  bool shrinks = false;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = first + i;
    const GroupRow elements{base + i * width * size, codes + i * width,
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
/// next_shift is ready for the following iteration, if one comes.
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
  const auto evaluate_after = [&](int iterations) {
    Shrinkage shrinkage(options.lp_norm, beta);
    if (iterations == options.iterations) shrinkage.rest();
    return evaluate(search, shrinkage, executor);
  };
  double best = evaluate_after(0);
  for (int i = 1; i <= options.iterations; ++i) {
    search.shift.swap(search.next_shift);
    beta *= options.kappa;
    const double error = evaluate_after(i);
    if (!(error < best)) break;
    best = error;
    std::memcpy(shift, search.shift.data(), shift_bytes);
  }
}

}  // namespace quanto::scale
