// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "quanto/core/executor.h"
#include "quanto/formats/module_map.h"
#include "quanto/formats/quanto.h"
#include "quanto/formats/weight.h"
#include "quanto/io/checkpoint.h"

namespace quanto::formats {

/// One weight of a model, whatever tensors it is stored as.
struct ModelTensor {
  std::string name;                    ///< "MODULE.weight" for a quantized one
  const io::FileType* type = nullptr;  ///< of its values; of scale if quantized
  /// A quantized weight whose file does not say its shape has that of its
  /// groups here, [groups][group_size].
  std::vector<int64_t> shape;
  bool shape_known = true;
  std::optional<WeightFacts> facts;  ///< if it is quantized
  io::Checkpoint::Found data;
  io::Checkpoint::Found scale, shift;  ///< if it is quantized
  /// The name of the weight whose tensors these are, if none is its own.
  std::optional<std::string> tied_to;
  uint64_t stored_bytes = 0;  ///< of all its own tensors

  [[nodiscard]] int64_t numel() const;
};

/// The tensors of a checkpoint, quantized weights put together from theirs.
struct Model {
  std::vector<ModelTensor> tensors;  ///< sorted by name, tied ones too
  /// Tensors that are not weights: input_scale, output_scale of quantized
  /// modules.
  std::vector<io::Checkpoint::Found> scales;
  bool quantized = false;        ///< it has quantized weights
  std::optional<ModuleMap> map;  ///< the quantization map, if a file has it
};

/// Reads what every tensor is, from the metadata of the files, the
/// `quantization_config` of config.json, the predecessor's quanto_qmap.json, or
/// the tensors themselves. Errors: tensors that do not fit together or differ
/// from what is said of them; a module that the map names has no weight.
/// `checkpoint` must outlive the result.
io::Result<Model> describe(const io::Checkpoint& checkpoint);

/// The values of a weight in its own type: those of the file for a float one,
/// else dequantized into `room`, which takes its size. Other types than
/// the core's float ones give an empty span.
std::span<const std::byte> values(const ModelTensor& tensor, Buffer& room,
                                  Executor& executor);

}  // namespace quanto::formats
