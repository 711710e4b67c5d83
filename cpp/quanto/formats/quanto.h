// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quanto/core/dtype.h"
#include "quanto/core/qtype.h"
#include "quanto/formats/facts.h"
#include "quanto/formats/module_map.h"
#include "quanto/io/json.h"
#include "quanto/io/result.h"
#include "quanto/io/safetensors_header.h"

// Our own checkpoint format, version 1; docs/formats.md is its specification.

namespace quanto::formats {

constexpr int kFormatVersion = 1;

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

/// The map of a `quantization_config`. Errors: another method, a version that
/// is not known, those of read_module_map().
io::Result<ModuleMap> read_quantization_config(const io::Json& config,
                                               const std::string& file);

}  // namespace quanto::formats
