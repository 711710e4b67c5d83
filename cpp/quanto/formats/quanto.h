// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quanto/core/dtype.h"
#include "quanto/core/qtype.h"
#include "quanto/io/json.h"
#include "quanto/io/result.h"
#include "quanto/io/safetensors_header.h"

// Our own checkpoint format, version 1; docs/formats.md is its specification.

namespace quanto::formats {

constexpr int kFormatVersion = 1;

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

/// The name of the module of a tensor called `MODULE.weight`, or nullopt.
std::optional<std::string> module_of(std::string_view tensor);

/// "int8" and "qint8" alike; nullptr for no type.
const QType* find_type(std::string_view name);

/// "int8" for qint8, "float8" for qfloat8_e4m3fn: the names of
/// quantization_config.
std::string_view short_name(const QType& type);

/// Names, types and shapes of the tensors that a module of a matrix `rows` x
/// `columns` of `dtype` is stored as, its bias excepted: data, scale, shift,
/// input_scale and output_scale.
std::vector<io::TensorInfo> stored_tensors(const std::string& module,
                                           WeightFacts facts, DType dtype,
                                           int64_t rows, int64_t columns);

/// A module's line in the quantization map. Weight only: no activations.
io::Json map_entry(WeightFacts facts);

/// The map's entry read back: nullopt for a module whose weight is float.
/// An entry without `version` is the predecessor's and says no group size:
/// `group_size_known` is false then. Errors: unknown types, keys of the wrong
/// kind.
struct MapEntry {
  QTypeId qtype;
  bool group_size_known;
  std::optional<int64_t> group_size;
};
io::Result<std::optional<MapEntry>> read_map_entry(const io::Json& entry,
                                                   const std::string& module,
                                                   const std::string& file);

/// The map of a `quantization_config`, by module. Errors: another method, a
/// version that is not known, entries as above.
io::Result<std::map<std::string, MapEntry>> read_quantization_config(
    const io::Json& config, const std::string& file);

}  // namespace quanto::formats
