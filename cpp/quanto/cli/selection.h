// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "quanto/cli/policy.h"
#include "quanto/formats/quanto.h"
#include "quanto/formats/weight.h"
#include "quanto/io/checkpoint.h"
#include "quanto/io/json.h"

namespace quanto::cli {

/// What is asked for on the command line.
struct Wanted {
  std::optional<QTypeId> weights = {};
  std::optional<int64_t> group_size = {};
  std::optional<formats::Optimizer> optimizer = {};
  std::vector<std::string> include = {};
  std::vector<std::string> exclude = {};
  std::vector<Rule> policy = {};
};

struct Choice {
  formats::WeightFacts facts;
  formats::Optimizer optimizer;
};

struct Selection {
  std::map<std::string, Choice> chosen;  ///< by module
  std::vector<std::string> left_float;   ///< modules that look like Linear ones
  /// By a chosen embedding, the chosen head that shares its weight.
  std::map<std::string, std::string> heads;
};

/// Which matrices to quantize, and how. Without a model class, names tell: a
/// matrix `*.weight` is a Linear's unless it looks like an embedding, an output
/// head, a router or an expert of a mixture (which transformers does not keep
/// in Linear modules); those are taken only where a pattern names them. A
/// weight that two modules share is left float, except that naming one of a
/// causal model's embedding and head takes both, as in Python.
/// `config` is config.json or null.
///
/// Throws Failure: a pattern matches nothing, nothing is left to quantize, the
/// checkpoint is quantized, a type, group size or optimizer does not fit, an
/// element type that cannot be quantized.
Selection select(const io::Checkpoint& checkpoint, const io::Json& config,
                 const Wanted& wanted);

}  // namespace quanto::cli
