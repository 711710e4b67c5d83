// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "quanto/formats/metadata.h"
#include "quanto/formats/module_map.h"
#include "quanto/formats/quanto.h"
#include "quanto/io/checkpoint.h"

namespace quanto::formats {

/// What the files of a checkpoint say of its quantized weights, by module.
struct Sayings {
  bool has_map = false;
  /// config.json's tie_word_embeddings: the head's weight is stored as the
  /// embedding's only.
  bool ties_embeddings = false;
  std::string map_file;                                ///< where the map stands
  ModuleMap map;                                       ///< the quantization map
  std::map<std::string, WeightDescription> described;  ///< in the metadata
};

/// The map is that of config.json's quantization_config, of the predecessor's
/// quanto_qmap.json, or of the files' metadata, the first of these that is
/// there. Errors: those of what is read.
io::Result<Sayings> read_sayings(const io::Checkpoint& checkpoint);

}  // namespace quanto::formats
