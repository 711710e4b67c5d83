// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_gemv_work.h"
#include "quanto/kernels/cpu/linear_tile.h"

// What the ways by panels share: how they cut their work, and their results.

namespace quanto::kernels {
namespace {

/// Rows of activations held as tiles at a time.
constexpr int64_t kBlockRows = 192;
/// What packing an element costs, in multiplications.
constexpr int64_t kPackWork = 32;

/// How the work of one block of rows is cut: each unit takes unit_blocks
/// times kPanelColumns rows of bytes (all their planes) and some of the tiles.
struct PanelPlan {
  int planes;          ///< outputs that share a byte row
  int64_t plane_rows;  ///< rows of bytes, or outputs where planes do not pair
  int64_t column_blocks;
  int64_t unit_blocks;  ///< column blocks of one unit
  int64_t tile_rows;
  int64_t tiles;
  int64_t row_splits;
};

inline PanelPlan plan_panels(const LinearProblem& problem, int64_t rows,
                             int64_t tile_rows, int threads) {
  const int64_t codes = 8 / bits_of(problem.weight);
  const int64_t planes = problem.n % codes == 0 ? codes : 1;
  PanelPlan plan;
  plan.planes = static_cast<int>(planes);
  plan.plane_rows = problem.n / planes;
  plan.column_blocks = ceil_div(plan.plane_rows, kPanelColumns);
  plan.unit_blocks = 1;
  plan.tile_rows = tile_rows;
  plan.tiles = ceil_div(rows, tile_rows);
  const int64_t wanted = ceil_div(2 * threads, plan.column_blocks);
  plan.row_splits = smaller(plan.tiles, wanted);
  return plan;
}

/// The outputs of a panel.
struct PanelOutputs {
  int64_t first;
  int64_t count;
};

/// Panel number `panel` of a unit: the planes of its first block come first.
inline PanelOutputs panel_outputs(const PanelPlan& plan, int64_t first_block,
                                  int64_t panel) {
  const int64_t begin = (first_block + panel / plan.planes) * kPanelColumns;
  return {panel % plan.planes * plan.plane_rows + begin,
          smaller(kPanelColumns, plan.plane_rows - begin)};
}

/// Calls body(first row, end row, first column block) for every unit.
template <typename Body>
inline void for_panel_units(const LinearProblem& problem, const PanelPlan& plan,
                            int64_t rows, Executor& executor, Body body) {
  const int64_t split = ceil_div(plan.tiles, plan.row_splits) * plan.tile_rows;
  const int64_t units =
      ceil_div(plan.column_blocks, plan.unit_blocks) * plan.row_splits;
  for_units(executor, units,
            plan.unit_blocks * kPanelColumns * plan.planes * problem.k *
                smaller(rows, split),
            [&](int64_t begin, int64_t end) {
              for (int64_t u = begin; u < end; ++u) {
                const int64_t row0 = u % plan.row_splits * split;
                if (row0 >= rows) continue;
                body(row0, smaller(rows, row0 + split),
                     u / plan.row_splits * plan.unit_blocks);
              }
            });
}

/// What kLanes outputs from `output` on are multiplied by (8 bits), and their
/// bias.
struct OutputLanes {
  Vec scale;
  Vec bias;
  int count;
};

inline OutputLanes output_lanes(const LinearProblem& problem,
                                const LinearArgs& args, int64_t output,
                                int64_t count) {
  OutputLanes lanes = {broadcast(1.0F), zero(), static_cast<int>(count)};
  const bool scaled = problem.shift == ShiftKind::kNone;
  if (scaled && problem.per_tensor) {
    lanes.scale = broadcast(element(args.scale, problem.scale, 0));
  } else if (scaled) {
    float part[kLanes] = {};
    to_float(args.scale, problem.scale, output, count, part);
    lanes.scale = load(part);
  }
  if (args.bias != nullptr) {
    lanes.bias =
        load_output(args.bias, problem.activation, output, lanes.count);
  }
  return lanes;
}

/// Sums of a panel's outputs to the output, with scales and bias.
class PanelEpilogue {
 public:
  PanelEpilogue(const LinearProblem& problem, const LinearArgs& args,
                PanelOutputs outputs)
      : problem_(problem), args_(args), outputs_(outputs) {
    for (int64_t c = 0; c < outputs.count; c += kLanes) {
      lanes_[c / kLanes] = output_lanes(problem, args, outputs.first + c,
                                        smaller(kLanes, outputs.count - c));
    }
  }

  /// Stores sums [rows][kPanelColumns] to rows [row, row + rows).
  void store(int64_t row, int64_t rows, const float* sums) const {
    if (outputs_.count < kPanelColumns) return store_some(row, rows, sums);
    switch (problem_.activation) {
      case DType::kFloat32:
        return store_all<DType::kFloat32>(row, rows, sums);
      case DType::kFloat16:
        return store_all<DType::kFloat16>(row, rows, sums);
      default:
        return store_all<DType::kBFloat16>(row, rows, sums);
    }
  }

 private:
  Vec output(const float* sums, const OutputLanes& lanes, Vec row_scale) const {
    Vec value = mul(load(sums), lanes.scale);
    if (problem_.input_scale != InputScale::kNone)
      value = mul(value, row_scale);
    return args_.bias == nullptr ? value : add(value, lanes.bias);
  }

  template <DType kDType>
  void store_all(int64_t row, int64_t rows, const float* sums) const {
    int64_t at = row * problem_.n + outputs_.first;
    for (int64_t r = row; r < row + rows; ++r, at += problem_.n) {
      const Vec by = broadcast(row_scale(problem_, args_, r));
      // All of a row at once: it is one line of the cache.
      QUANTO_UNROLL for (int c = 0; c < kPanelColumns; c += kLanes) {
        Element<kDType>::store(args_.output, at + c,
                               output(sums + c, lanes_[c / kLanes], by), All{});
      }
      sums += kPanelColumns;
    }
  }

  void store_some(int64_t row, int64_t rows, const float* sums) const {
    for (int64_t r = row; r < row + rows; ++r) {
      const Vec by = broadcast(row_scale(problem_, args_, r));
      for (int64_t c = 0; c < outputs_.count; c += kLanes) {
        const OutputLanes& lanes = lanes_[c / kLanes];
        store_output(args_.output, problem_.activation,
                     r * problem_.n + outputs_.first + c,
                     output(sums + c, lanes, by), lanes.count);
      }
      sums += kPanelColumns;
    }
  }

  const LinearProblem& problem_;
  const LinearArgs& args_;
  PanelOutputs outputs_;
  OutputLanes lanes_[kPanelColumns / kLanes];
};

}  // namespace
}  // namespace quanto::kernels
