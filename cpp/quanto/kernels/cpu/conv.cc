// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/conv.h"

#include "quanto/kernels/cpu/conv_output.h"
#include "quanto/kernels/cpu/conv_planes.h"
#include "quanto/kernels/cpu/conv_rows.h"
#include "quanto/kernels/cpu/conv_sums.h"
#include "quanto/kernels/cpu/tables.h"

namespace quanto::kernels {
namespace {

/// Multiplications that are worth a thread.
constexpr int64_t kConvThreadWork = int64_t{1} << 16;
/// Floats of planes that stay in the first cache beside taps.
constexpr int64_t kPartFloats = int64_t{1} << 13;
/// Taps that pay for taking sums from memory and back.
constexpr int64_t kPartTaps = 128;
/// Floats of sums that stay in the second cache beside planes.
constexpr int64_t kSumFloats = int64_t{1} << 15;

/// How a band's sums are cut: `channels` for `outputs` of a group, then the
/// next channels. More planes than the first cache holds would come from the
/// second for every block of outputs.
struct SumPlan {
  int64_t stride;  ///< from output to output
  int64_t channels;
  int64_t outputs;
};

SumPlan plan_sums(const ConvProblem& problem, const BandPlan& plan) {
  const int64_t stride = round_up(plan.sums(problem, plan.rows), kLanes);
  const int64_t places = problem.kernel.y * problem.kernel.x;
  const int64_t part = kPartFloats / plan.channel_floats;
  if (problem.channels <= 2 * part || part * places < kPartTaps) {
    return {stride, problem.channels, kConvOutputs};
  }
  const int64_t blocks = larger(1, kSumFloats / (kConvOutputs * stride));
  return {stride, part, blocks * kConvOutputs};
}

/// A thread's memory for one band.
struct BandMemory {
  float* planes;
  float* sums;
  int64_t* offsets;

  /// Takes the executor's scratch. Planes are written and read in whole
  /// vectors, up to one past the last.
  BandMemory(const ConvProblem& problem, const BandPlan& plan,
             const SumPlan& sum_plan, Executor& executor) {
    const int64_t plane_floats = problem.channels * plan.channel_floats;
    const int64_t sum_floats = sum_plan.outputs * sum_plan.stride;
    const int64_t taps = problem.taps();
    const int64_t floats = plane_floats + kLanes + sum_floats;
    std::byte* memory =
        executor.scratch(static_cast<size_t>(taps) * sizeof(int64_t) +
                         static_cast<size_t>(floats) * sizeof(float));
    offsets = reinterpret_cast<int64_t*>(memory);
    sums = reinterpret_cast<float*>(offsets + taps);
    planes = sums + sum_floats;
    for (int i = 0; i < kLanes; ++i) planes[plane_floats + i] = 0;
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t line = t / problem.kernel.x;
      offsets[t] = plan.offset(problem, line / problem.kernel.y,
                               line % problem.kernel.y, t % problem.kernel.x);
    }
  }
};

/// The bands of all images and groups, with a thread's memory.
template <DType kActivation, typename Load>
class Bands {
 public:
  Bands(const ConvProblem& problem, const ConvArgs& args, const BandPlan& plan,
        Load load, Executor& executor)
      : problem_(problem),
        args_(args),
        plan_(plan),
        sum_plan_(plan_sums(problem, plan)),
        memory_(problem, plan, sum_plan_, executor),
        planes_(problem, plan, load) {}

  void run(int64_t index) const {
    const int64_t first = index % plan_.count * plan_.rows;
    const int64_t rows = smaller(plan_.rows, problem_.output.y - first);
    const int64_t group = index / plan_.count;  // of all images
    planes_.write(group * problem_.channels, 1, first, memory_.planes);
    if (rows_pay(problem_, plan_, rows)) {
      const int64_t output = group % problem_.groups;
      sum_rows(problem_, plan_, memory_.planes, memory_.offsets, taps(output),
               rows, memory_.sums);
      store(group, output, first, rows, row_sums_pitch(problem_), memory_.sums);
      return;
    }
    for (int64_t o = 0; o < problem_.outputs; o += sum_plan_.outputs) {
      const int64_t width = smaller(sum_plan_.outputs, problem_.outputs - o);
      const int64_t output = group % problem_.groups * problem_.outputs + o;
      sum_outputs(output, width, plan_.sums(problem_, rows));
      for (int64_t i = 0; i < width; ++i) {
        store(group, output + i, first, rows, plan_.pitch,
              memory_.sums + i * sum_plan_.stride);
      }
    }
  }

 private:
  /// The sums of `width` outputs, whole blocks but for the last of the group:
  /// some channels for all of them, then the next.
  void sum_outputs(int64_t output, int64_t width, int64_t positions) const {
    const int64_t places = problem_.kernel.y * problem_.kernel.x;
    for (int64_t c = 0; c < problem_.channels; c += sum_plan_.channels) {
      const int64_t count =
          smaller(sum_plan_.channels, problem_.channels - c) * places;
      for (int64_t o = 0; o < width; o += kConvOutputs) {
        const int64_t block = smaller(kConvOutputs, width - o);
        sum_planes(memory_.planes,
                   {taps(output + o) + c * places * block,
                    memory_.offsets + c * places, count, c == 0},
                   block, positions, sum_plan_.stride,
                   memory_.sums + o * sum_plan_.stride);
      }
    }
  }

  /// Those of the block that starts with an output.
  [[nodiscard]] const float* taps(int64_t output) const {
    return static_cast<const float*>(args_.taps) + output * problem_.taps();
  }

  void store(int64_t group, int64_t output, int64_t first, int64_t rows,
             int64_t pitch, const float* sums) const {
    store_rows<kActivation>(problem_, args_, pitch, group / problem_.groups,
                            output, first, rows, sums);
  }

  const ConvProblem& problem_;
  const ConvArgs& args_;
  const BandPlan& plan_;
  SumPlan sum_plan_;
  BandMemory memory_;
  BandPlanes<Load> planes_;
};

template <DType kActivation>
void run_bands(const ConvProblem& problem, const ConvArgs& args,
               Executor& executor) {
  const BandPlan plan = plan_bands(problem);
  const int64_t work =
      problem.outputs * problem.taps() * plan.rows * problem.output.x;
  const auto run = [&](auto load) {
    executor.parallel_for(problem.images * problem.groups * plan.count,
                          ceil_div(kConvThreadWork, work),
                          [&](int64_t begin, int64_t end) {
                            const Bands<kActivation, decltype(load)> bands(
                                problem, args, plan, load, executor);
                            for (int64_t i = begin; i < end; ++i) bands.run(i);
                          });
  };
  with_input_loader(args.input, problem.dtype, run);
}

void conv(const ConvProblem& problem, const ConvArgs& args,
          Executor& executor) {
  with_float(problem.activation, [&](auto type) {
    run_bands<decltype(type)::value>(problem, args, executor);
  });
}

}  // namespace

Conv QUANTO_FOR_ISA(conv)() { return conv; }

}  // namespace quanto::kernels
