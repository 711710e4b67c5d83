// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_panel_plan.h"

// "panel": any number of rows, fp32 arithmetic. Weights are decoded into a
// panel that stays in the first cache while all rows of activations pass.

namespace quanto::kernels {
namespace {

/// What one unit writes into: sums [planes][rows][kPanelColumns], one panel,
/// and the scales of that panel.
struct PanelRoom {
  float* sums;
  float* panel;
  PanelScales scales;
};

inline PanelRoom panel_room(const LinearProblem& problem, int64_t sums,
                            Executor& executor) {
  const int64_t panel = kPanelDepth * kPanelColumns;
  // A panel may start and end inside a group.
  const int64_t groups = kPanelDepth / problem.group_size + 2;
  const int64_t scales = groups * kPanelColumns;
  auto* room = reinterpret_cast<float*>(executor.scratch(
      static_cast<size_t>(sums + panel + 2 * scales) * sizeof(float)));
  return {room,
          room + sums,
          {room + sums + panel, room + sums + panel + scales,
           problem.group_size, problem.shift == ShiftKind::kInteger}};
}

/// Groups [first, first + count) of the outputs of a panel, of an array
/// [outputs][groups], to out [count][kPanelColumns]. Outputs past the last
/// repeat it.
inline void load_groups(const void* source, DType dtype, int64_t groups,
                        int64_t output, int64_t outputs, int64_t first,
                        int64_t count, float* out) {
  with_loader(source, dtype, [=](auto load_at) {
    for (int64_t c = 0; c < kPanelColumns; c += kLanes) {
      for (int64_t g = 0; g < count; g += kLanes) {
        const int part = static_cast<int>(smaller(kLanes, count - g));
        IVec rows[kLanes];
        for (int i = 0; i < kLanes; ++i) {
          const int64_t row = output + smaller(c + i, outputs - 1);
          rows[i] = as_int(load_at(row * groups + first + g, part));
        }
        transpose(rows);
        for (int i = 0; i < part; ++i) {
          store(out + (g + i) * kPanelColumns + c, as_float(rows[i]));
        }
      }
    }
  });
}

/// The scales and shifts of the same.
inline void load_panel_scales(const LinearProblem& problem,
                              const LinearArgs& args, int64_t output,
                              int64_t outputs, int64_t first, int64_t count,
                              const PanelScales& out) {
  const int64_t groups = problem.k / problem.group_size;
  const DType shift_dtype =
      problem.shift == ShiftKind::kInteger ? DType::kUInt8 : problem.scale;
  load_groups(args.scale, problem.scale, groups, output, outputs, first, count,
              out.scale);
  load_groups(args.shift, shift_dtype, groups, output, outputs, first, count,
              out.shift);
}

/// Where kLanes outputs from `output` on have their codes at k; outputs past
/// the last repeat it. All of them lie in one plane.
template <QTypeId kType>
inline ColumnRun find_columns(const LinearProblem& problem,
                              const LinearArgs& args, const PanelPlan& plan,
                              int64_t output, int64_t last, int64_t k) {
  const auto* data = static_cast<const uint8_t*>(args.data);
  const int64_t size = problem.group_size;
  constexpr int64_t kCodes = 8 / bits_of(kType);
  ColumnRun run;
  if (plan.planes == kCodes) {
    const int64_t plane = kCodes == 1 ? 0 : last / plan.plane_rows;
    for (int c = 0; c < kLanes; ++c) {
      const int64_t row = smaller(output + c, last) - plane * plan.plane_rows;
      run.codes[c] = data + row * problem.k + k;
    }
    run.shift = ibroadcast(static_cast<int32_t>(plane) * bits_of(kType));
    return run;
  }
  alignas(64) int32_t shift[kLanes] = {};
  const int64_t groups = problem.k / size;
  const int64_t packed = ceil_div(problem.n * groups, kCodes);
  for (int c = 0; c < kLanes; ++c) {
    const int64_t group_row = smaller(output + c, last) * groups + k / size;
    run.codes[c] = data + group_row % packed * size + k % size;
    shift[c] = static_cast<int32_t>(group_row / packed * bits_of(kType));
  }
  run.shift = load_words(shift);
  return run;
}

/// Outputs [output, last] (at most kPanelColumns) of k in [k0, k0 + depth) to
/// the panel.
template <QTypeId kType>
void decode_panel(const LinearProblem& problem, const LinearArgs& args,
                  const PanelPlan& plan, int64_t output, int64_t last,
                  int64_t k0, int64_t depth, const PanelRoom& room) {
  const int64_t size = problem.group_size;
  const int64_t group = k0 / size;
  if constexpr (bits_of(kType) < 8) {
    load_panel_scales(problem, args, output, last - output + 1, group,
                      (k0 + depth - 1) / size - group + 1, room.scales);
  }
  // Bytes of an output are contiguous over all of k, or within a group.
  const bool whole = plan.planes == 8 / bits_of(kType);
  for (int half = 0; half < kPanelColumns; half += kLanes) {
    PanelCursor at = {room.panel + half, room.scales.scale + half,
                      room.scales.shift + half, size - k0 % size, size};
    for (int64_t k = k0; k < k0 + depth;) {
      const int64_t left = k0 + depth - k;
      const int64_t count = whole ? left : smaller(left, size - k % size);
      const ColumnRun run =
          find_columns<kType>(problem, args, plan, output + half, last, k);
      if (room.scales.integer) {
        decode_run<kType, true>(run, count, at);
      } else {
        decode_run<kType, false>(run, count, at);
      }
      k += count;
    }
  }
}

/// One unit: rows [row0, row_end) of the block of rows, one block of columns.
template <QTypeId kType>
void run_panel_unit(const LinearProblem& problem, const LinearArgs& args,
                    const PanelPlan& plan, const float* tiles,
                    int64_t first_row, int64_t row0, int64_t row_end,
                    int64_t column_block, Executor& executor) {
  const int64_t rows = row_end - row0;
  const int64_t plane_sums = rows * kPanelColumns;
  const PanelRoom room =
      panel_room(problem, plan.planes * plane_sums, executor);
  const int64_t begin = column_block * kPanelColumns;
  const int64_t outputs = smaller(kPanelColumns, plan.plane_rows - begin);
  for (int64_t k = 0; k < problem.k; k += kPanelDepth) {
    const int64_t depth = smaller(kPanelDepth, problem.k - k);
    for (int j = 0; j < plan.planes; ++j) {
      const int64_t output = j * plan.plane_rows + begin;
      decode_panel<kType>(problem, args, plan, output, output + outputs - 1, k,
                          depth, room);
      for (int64_t r = row0; r < row_end; r += kTileRows) {
        const int64_t count = smaller(kTileRows, row_end - r);
        multiply_tile_for(count)(
            tiles + r * problem.k + k * count, room.panel, depth, k == 0,
            room.sums + j * plane_sums + (r - row0) * kPanelColumns);
      }
    }
  }
  for (int j = 0; j < plan.planes; ++j) {
    PanelEpilogue(problem, args, {j * plan.plane_rows + begin, outputs})
        .store(first_row + row0, rows, room.sums + j * plane_sums);
  }
}

template <QTypeId kType>
void run_panels(const LinearProblem& problem, const LinearArgs& args,
                Executor& executor) {
  const int64_t block = smaller(kBlockRows, problem.m);
  auto* tiles = reinterpret_cast<float*>(executor.workspace(
      static_cast<size_t>(block * problem.k) * sizeof(float)));
  for (int64_t m0 = 0; m0 < problem.m; m0 += kBlockRows) {
    const int64_t rows = smaller(kBlockRows, problem.m - m0);
    const PanelPlan plan =
        plan_panels(problem, rows, kTileRows, executor.threads());
    for_units(executor, plan.tiles, kTileRows * problem.k * kPackWork,
              [&](int64_t begin, int64_t end) {
                for (int64_t t = begin; t < end; ++t) {
                  const int64_t first = t * kTileRows;
                  pack_tile(problem, args, m0 + first,
                            smaller(kTileRows, rows - first),
                            tiles + first * problem.k);
                }
              });
    for_panel_units(problem, plan, rows, executor,
                    [&](int64_t row0, int64_t row_end, int64_t column_block) {
                      run_panel_unit<kType>(problem, args, plan, tiles, m0,
                                            row0, row_end, column_block,
                                            executor);
                    });
  }
}

bool panel_supports(const LinearProblem& problem) { return problem.k > 0; }

void panel_run(const LinearProblem& problem, const LinearArgs& args,
               Executor& executor) {
  switch (problem.weight) {
    case QTypeId::kQInt2:
      return run_panels<QTypeId::kQInt2>(problem, args, executor);
    case QTypeId::kQInt4:
      return run_panels<QTypeId::kQInt4>(problem, args, executor);
    case QTypeId::kQInt8:
      return run_panels<QTypeId::kQInt8>(problem, args, executor);
    case QTypeId::kQFloat8E4M3FN:
      return run_panels<QTypeId::kQFloat8E4M3FN>(problem, args, executor);
    case QTypeId::kQFloat8E5M2:
      return run_panels<QTypeId::kQFloat8E5M2>(problem, args, executor);
    case QTypeId::kQFloat8E4M3FNUZ:
      return run_panels<QTypeId::kQFloat8E4M3FNUZ>(problem, args, executor);
  }
}

}  // namespace
}  // namespace quanto::kernels
