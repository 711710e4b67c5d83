// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_gemv_fields.h"

// A few rows of activations by weights whose rows of bytes are whole; and
// "gemv", which does it in fp32.
//
// `Dots` is how products are summed:
//   kPlanes                      outputs of a row of bytes
//   kHasUnits                    whether its input's codes are in units
//   kM, rows(m)                  rows of activations and of bytes at once
//   kUnit                        what sums are in units of (one plane)
//   dot<rows, m>(data, ..., m0, sums)  as dot_bytes and dot_planes, from
//                                activation row m0 on

namespace quanto::kernels {
namespace {

template <typename Dots>
void run_bytes(const LinearProblem& problem, const LinearArgs& args,
               Executor& executor, const Dots& dots) {
  const auto* data = static_cast<const uint8_t*>(args.data);
  const int64_t k = problem.k;
  const auto unit = [&](int64_t first) {
    const int64_t rows = smaller(kUnitRows, problem.n - first);
    float scale[kUnitRows];
    if (problem.per_tensor) {
      const float one = element(args.scale, problem.scale, 0);
      for (float& s : scale) s = one;
    } else {
      to_float(args.scale, problem.scale, first, rows, scale);
    }
    for_activation_rows<Dots::kM>(problem.m, [&](int64_t m0, auto count) {
      constexpr int kM = decltype(count)::value;
      float sums[kM * kUnitRows];
      for_weight_rows<Dots::rows(kM)>(rows, [&](int64_t row, auto at_once) {
        dots.template dot<decltype(at_once)::value, kM>(
            data + (first + row) * k, k, m0, sums + row);
      });
      for (int m = 0; m < kM; ++m) {
        float* sum = sums + m * kUnitRows;
        for (int64_t i = 0; i < rows; ++i) {
          sum[i] *= Dots::kUnit * scale[i];
        }
        write_outputs(problem, args, m0 + m, first, rows, sum);
      }
    });
  };
  for_units(executor, ceil_div(problem.n, kUnitRows), kUnitRows * k * problem.m,
            [&](int64_t begin, int64_t end) {
              for (int64_t u = begin; u < end; ++u) unit(u * kUnitRows);
            });
}

/// Outputs a multiple of kPlanes: a byte serves one output of each plane.
template <typename Dots>
void run_planes(const LinearProblem& problem, const LinearArgs& args,
                Executor& executor, const Dots& dots) {
  constexpr int kPlanes = Dots::kPlanes;
  const auto* data = static_cast<const uint8_t*>(args.data);
  const int64_t k = problem.k;
  const int64_t plane_rows = problem.n / kPlanes;
  const auto unit = [&](int64_t first, const UnitScales& scales) {
    const int64_t rows = smaller(kUnitRows, plane_rows - first);
    for (int j = 0; j < kPlanes; ++j) {
      convert_scales(problem, args, j * plane_rows + first, rows, j, scales);
    }
    if constexpr (Dots::kHasUnits) {
      multiply_units(problem.m, dots.input.units, dots.input.padded_groups,
                     scales);
    }
    for_activation_rows<Dots::kM>(problem.m, [&](int64_t m0, auto count) {
      constexpr int kM = decltype(count)::value;
      float sums[kM * kPlanes * kUnitRows];
      for_weight_rows<Dots::rows(kM)>(rows, [&](int64_t row, auto at_once) {
        dots.template dot<decltype(at_once)::value, kM>(
            data + (first + row) * k, k, scales, row, m0, sums + row);
      });
      for (int m = 0; m < kM; ++m) {
        for (int j = 0; j < kPlanes; ++j) {
          write_outputs(problem, args, m0 + m, j * plane_rows + first, rows,
                        sums + (m * kPlanes + j) * kUnitRows);
        }
      }
    });
  };
  for_units(
      executor, ceil_div(plane_rows, kUnitRows),
      kPlanes * kUnitRows * k * problem.m, [&](int64_t begin, int64_t end) {
        ScalesAhead ahead;
        const UnitScales scales =
            unit_scales(problem, kPlanes, executor, &ahead,
                        Dots::kHasUnits ? problem.m : 0);
        for (int64_t u = begin; u < end; ++u) {
          ahead.start(problem, args, kPlanes, plane_rows, (u + 1) * kUnitRows);
          unit(u * kUnitRows, scales);
        }
      });
}

/// What Dots of 8-bit weights have in common.
struct ByteDots {
  static constexpr int kM = gemv_m(1);
  static constexpr float kUnit = 1;
  static constexpr int rows(int m) { return gemv_rows(1, m); }
};

template <DType kStorage>
struct FloatBytes : ByteDots {
  static constexpr float kUnit = kBytesUnit<kStorage>;

  template <int kRows, int kCount>
  void dot(const uint8_t* data, int64_t k, int64_t m0, float* sums) const {
    dot_bytes<kStorage, kRows, kCount>(data, k, x + m0 * k, sums);
  }

  const float* x;
};

template <int kBits>
struct FloatPlanes {
  static constexpr int kPlanes = 8 / kBits;
  static constexpr bool kHasUnits = false;
  static constexpr int kM = gemv_m(kPlanes);
  static constexpr int rows(int m) { return gemv_rows(kPlanes, m); }

  template <int kRows, int kCount>
  void dot(const uint8_t* data, int64_t k, const UnitScales& scales,
           int64_t row, int64_t m0, float* sums) const {
    dot_planes<kBits, kRows, kCount>(data, k, scales, row, x + m0 * k, sums);
  }

  const float* x;
};

/// The same of one row, kGroups groups at once.
template <int kBits, int kGroups>
struct FieldPlanes {
  static constexpr int kPlanes = 8 / kBits;
  static constexpr bool kHasUnits = false;
  static constexpr int kM = 1;
  static constexpr int rows(int m) { return gemv_rows(kPlanes, m); }

  template <int kRows, int kCount>
  void dot(const uint8_t* data, int64_t k, const UnitScales& scales,
           int64_t row, int64_t /*m0*/, float* sums) const {
    dot_fields<kBits, kGroups, kRows>(data, k, scales, row, input, sums);
  }

  FieldInput input;
};

template <DType kStorage>
void gemv_bytes(const LinearProblem& problem, const LinearArgs& args,
                Executor& executor) {
  run_bytes(problem, args, executor,
            FloatBytes<kStorage>{{}, float_input(problem, args, executor)});
}

template <int kBits>
void gemv_group_rows(const LinearProblem& problem, const LinearArgs& args,
                     Executor& executor) {
  const float* x = float_input(problem, args, executor);
  const auto* data = static_cast<const uint8_t*>(args.data);
  const int64_t k = problem.k;
  const int64_t groups = k / problem.group_size;
  const int64_t packed = ceil_div(problem.n * groups, 8 / kBits);
  const auto unit = [&](int64_t first, const UnitScales& scales) {
    const int64_t rows = smaller(kUnitRows, problem.n - first);
    convert_scales(problem, args, first, rows, 0, scales);
    for_activation_rows<kGemvRows>(problem.m, [&](int64_t m0, auto count) {
      constexpr int kM = decltype(count)::value;
      float sums[kM * kUnitRows];
      for (int64_t row = 0; row < rows; ++row) {
        dot_group_rows<kBits, kM>(data, (first + row) * groups, packed, k,
                                  scales, row, x + m0 * k, sums + row);
      }
      for (int m = 0; m < kM; ++m) {
        write_outputs(problem, args, m0 + m, first, rows, sums + m * kUnitRows);
      }
    });
  };
  for_units(executor, ceil_div(problem.n, kUnitRows), kUnitRows * k * problem.m,
            [&](int64_t begin, int64_t end) {
              const UnitScales scales =
                  unit_scales(problem, 1, executor, nullptr);
              for (int64_t u = begin; u < end; ++u) {
                unit(u * kUnitRows, scales);
              }
            });
}

template <int kBits>
void gemv_packed(const LinearProblem& problem, const LinearArgs& args,
                 Executor& executor) {
  FieldInput fields;
  if (problem.n % (8 / kBits) != 0) {
    gemv_group_rows<kBits>(problem, args, executor);
  } else if (problem.m == 1 &&
             field_input<kBits>(problem, args, executor, &fields)) {
    if constexpr (kHalfGroup != 0) {
      if (problem.group_size == kHalfGroup) {
        return run_planes(problem, args, executor,
                          FieldPlanes<kBits, 2>{fields});
      }
    }
    run_planes(problem, args, executor, FieldPlanes<kBits, 1>{fields});
  } else {
    run_planes(problem, args, executor,
               FloatPlanes<kBits>{float_input(problem, args, executor)});
  }
}

bool gemv_supports(const LinearProblem& problem) {
  // Fewer rows at once do not pay for decoding the weight once for each.
  const bool narrow = gemv_m(8 / bits_of(problem.weight)) < kGemvRows;
  return takes_few_rows(problem) && (!narrow || problem.m <= kGemvRows);
}

void gemv_run(const LinearProblem& problem, const LinearArgs& args,
              Executor& executor) {
  switch (problem.weight) {
    case QTypeId::kQInt2:
      return gemv_packed<2>(problem, args, executor);
    case QTypeId::kQInt4:
      return gemv_packed<4>(problem, args, executor);
    case QTypeId::kQInt8:
      return gemv_bytes<DType::kInt8>(problem, args, executor);
    case QTypeId::kQFloat8E4M3FN:
      return gemv_bytes<DType::kFloat8E4M3FN>(problem, args, executor);
    case QTypeId::kQFloat8E5M2:
      return gemv_bytes<DType::kFloat8E5M2>(problem, args, executor);
    case QTypeId::kQFloat8E4M3FNUZ:
      return gemv_bytes<DType::kFloat8E4M3FNUZ>(problem, args, executor);
  }
}

}  // namespace
}  // namespace quanto::kernels
