// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quanto/core/qtype.h"
#include "quanto/formats/weight.h"

namespace re2 {
class RE2;
}

namespace quanto::cli {

/// What to do with the modules that a regular expression finds.
struct Rule {
  std::string match;
  std::shared_ptr<const re2::RE2> expression;
  bool skip = false;
  std::optional<QTypeId> weights;
  std::optional<int64_t> group_size;
  std::optional<formats::Optimizer> optimizer;

  [[nodiscard]] bool finds(const std::string& module) const;
};

/// The rules of a policy file: a JSON array of objects
///   {"match": "mlp\\.down_proj$", "weights": "int8"}
///   {"match": "layers\\.0\\.", "weights": "int4", "group_size": 32,
///    "optimizer": "hqq"}
///   {"match": "vision", "skip": true}
/// The first whose expression (RE2) is found in a module's name holds for it;
/// what it leaves out comes from the command line. Throws Failure for anything
/// else.
std::vector<Rule> read_policy(const std::string& path);

/// "absmax", "max" or "hqq"; nullopt for another.
std::optional<formats::Optimizer> find_optimizer(const std::string& name);

}  // namespace quanto::cli
