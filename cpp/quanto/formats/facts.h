// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quanto/core/qtype.h"

// What is said of quantized modules beside their tensors; docs/formats.md.

namespace quanto::formats {

/// Ends of the names of the tensors that make a module's quantized weight.
constexpr std::string_view kData = ".weight._data";
constexpr std::string_view kPackedData = ".weight._data._data";
constexpr std::string_view kScale = ".weight._scale";
constexpr std::string_view kShift = ".weight._shift";
constexpr std::string_view kInputScale = ".input_scale";
constexpr std::string_view kOutputScale = ".output_scale";

/// What a quantized matrix [outputs][inputs] is beside its tensors; the axis is
/// 0. `group_size`: elements of one output that share a scale, for 4 and 2
/// bits; none: all of them.
struct WeightFacts {
  QTypeId qtype;
  std::optional<int64_t> group_size;

  bool operator==(const WeightFacts&) const = default;
};

/// A weight as the metadata of its file describes it. `shape` is that of the
/// weight, of two sizes or more; the first is the axis.
struct WeightDescription {
  WeightFacts facts;
  std::vector<int64_t> shape;
  bool integer_shift = false;

  /// Elements of one output.
  [[nodiscard]] int64_t columns() const {
    int64_t columns = 1;
    for (size_t i = 1; i < shape.size(); ++i) columns *= shape[i];
    return columns;
  }

  bool operator==(const WeightDescription&) const = default;
};

/// One module's entry of the quantization map. Of the predecessor's maps, which
/// record types only, the group size is not known and the quantized sides are
/// none: its rules hold.
struct ModuleEntry {
  std::optional<QTypeId> weights;      ///< none: float
  std::optional<QTypeId> activations;  ///< none: float
  bool group_size_known = true;
  std::optional<int64_t> group_size;  ///< none: one group for each output
  bool dynamic = false;
  std::optional<bool> quantized_input;
  std::optional<bool> quantized_output;

  bool operator==(const ModuleEntry&) const = default;
};

using ModuleMap = std::map<std::string, ModuleEntry>;

}  // namespace quanto::formats
