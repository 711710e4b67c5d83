// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quanto/cli/policy.h"
#include "quanto/io/checkpoint.h"
#include "quanto/io/json.h"

namespace quanto::cli {

/// Why a matrix is not taken for a Linear's weight to quantize.
enum class Kind : uint8_t { kLinear, kEmbedding, kHead, kRouter, kExpert };

/// A matrix `MODULE.weight`, which may be quantized.
struct Candidate {
  std::string module;
  Kind kind;
  const io::SafetensorsFile* file;
  const io::TensorInfo* tensor;
  std::string other_name;  ///< of the tensor, if it is tied; else empty
  /// The output head that shares an embedding's weight, which the checkpoint
  /// holds under the embedding's name only (tie_word_embeddings); else empty.
  std::string head = {};
};

/// Whether config.json (or null) says that head and embedding share a weight.
bool ties_embeddings(const io::Json& config);

/// All of a checkpoint; `config` is config.json or null. Throws Failure: the
/// checkpoint is quantized, a model of transposed matrices, tied names that do
/// not fit.
std::vector<Candidate> candidates_of(const io::Checkpoint& checkpoint,
                                     const io::Json& config);

/// Whether a shell pattern means the module: one that is no plain Linear has to
/// be named, itself or the head that shares its weight.
bool included(const Candidate& candidate, const std::string& pattern);

/// Whether a rule, whose expression finds the module, holds for it.
bool holds_for(const Candidate& candidate, const Rule& rule);

}  // namespace quanto::cli
