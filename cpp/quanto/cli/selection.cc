// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/selection.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "quanto/cli/failure.h"
#include "quanto/cli/patterns.h"
#include "quanto/core/grouping.h"

namespace quanto::cli {
namespace {

using formats::Optimizer;
using io::Json;
using io::TensorInfo;

/// Why a matrix is not taken for a Linear's weight to quantize.
enum class Kind : uint8_t { kLinear, kEmbedding, kHead, kRouter, kExpert };

/// Models whose matrices are those of transformers' Conv1D: [inputs][outputs].
constexpr std::array<std::string_view, 5> kConv1DModels = {
    "gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp"};

template <size_t kCount>
bool is_one_of(std::string_view name,
               const std::array<std::string_view, kCount>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Kind kind_of(const std::string& module) {
  constexpr std::array<std::string_view, 4> kEmbeddings = {
      "wte", "wpe", "shared", "relative_attention_bias"};
  constexpr std::array<std::string_view, 4> kHeads = {"lm_head", "embed_out",
                                                      "score", "proj_out"};
  constexpr std::array<std::string_view, 2> kRouters = {"gate", "router"};
  const std::string leaf = leaf_of(module);
  const bool top_level = leaf == module;
  if (is_one_of(leaf, kHeads) && (top_level || leaf != "proj_out")) {
    return Kind::kHead;
  }
  if (module.ends_with("predictions.decoder")) return Kind::kHead;
  if (leaf.find("embed") != std::string::npos || is_one_of(leaf, kEmbeddings) ||
      module.find("embeddings.") != std::string::npos) {
    return Kind::kEmbedding;
  }
  if (is_one_of(leaf, kRouters) ||
      module.find("router.") != std::string::npos) {
    return Kind::kRouter;
  }
  if (module.find(".experts.") != std::string::npos) return Kind::kExpert;
  return Kind::kLinear;
}

struct Candidate {
  std::string module;
  Kind kind;
  const io::SafetensorsFile* file;
  const TensorInfo* tensor;
};

std::string text_of(const Json& config, const char* key) {
  const auto found = config.is_object() ? config.find(key) : config.end();
  if (found == config.end() || !found->is_string()) return "";
  return found->get<std::string>();
}

bool is_tied(const Json& config) {
  const auto found =
      config.is_object() ? config.find("tie_word_embeddings") : config.end();
  return found != config.end() && *found == true;
}

std::vector<Candidate> candidates_of(const io::Checkpoint& checkpoint,
                                     const Json& config) {
  std::vector<Candidate> candidates;
  if (is_one_of(text_of(config, "model_type"), kConv1DModels)) {
    fail(
        "{}: expected a model of Linear modules, got {}, whose matrices are "
        "transposed (Conv1D)",
        checkpoint.path(), text_of(config, "model_type"));
  }
  for (const io::SafetensorsFile& file : checkpoint.files()) {
    for (const TensorInfo& tensor : file.header().tensors) {
      if (tensor.name.ends_with(formats::kScale)) {
        fail(
            "{}: expected float weights, got '{}': the checkpoint is "
            "quantized",
            file.path(), tensor.name);
      }
      const auto module = formats::module_of(tensor.name);
      if (!module || tensor.shape.size() != 2 || tensor.bytes() == 0) continue;
      candidates.push_back({*module, kind_of(*module), &file, &tensor});
    }
  }
  return candidates;
}

/// Every module that a tensor belongs to, parents included.
std::set<std::string> modules_of(const io::Checkpoint& checkpoint) {
  std::set<std::string> modules;
  for (const io::SafetensorsFile& file : checkpoint.files()) {
    for (const TensorInfo& tensor : file.header().tensors) {
      for (size_t dot = tensor.name.rfind('.'); dot != std::string::npos;
           dot = dot == 0 ? dot : tensor.name.rfind('.', dot - 1)) {
        if (!modules.insert(tensor.name.substr(0, dot)).second) break;
      }
    }
  }
  return modules;
}

/// Whether a pattern that matches the module says that it means this one
/// though it is no plain Linear.
bool names_special(const Candidate& candidate, std::string_view pattern) {
  return candidate.kind != Kind::kExpert ||
         pattern.find("expert") != std::string_view::npos;
}

bool included(const Candidate& candidate, const std::string& pattern) {
  if (candidate.kind == Kind::kLinear) {
    return matches(candidate.module, pattern);
  }
  return names_it(candidate.module, pattern) &&
         names_special(candidate, pattern);
}

/// Whether a rule, whose expression finds the module, holds for it.
bool holds_for(const Candidate& candidate, const Rule& rule) {
  if (!rule.finds(candidate.module)) return false;
  return candidate.kind == Kind::kLinear || rule.skip ||
         (rule.match.find(leaf_of(candidate.module)) != std::string::npos &&
          names_special(candidate, rule.match));
}

class Selector {
 public:
  Selector(const io::Checkpoint& checkpoint, const Json& config,
           const Wanted& wanted)
      : checkpoint_(checkpoint),
        wanted_(wanted),
        tied_(is_tied(config)),
        candidates_(candidates_of(checkpoint, config)) {}

  Selection select() {
    check_patterns();
    for (const Candidate& candidate : candidates_) {
      const Rule* rule = rule_for(candidate);
      if (is_selected(candidate, rule)) {
        check_own_weight(candidate);
        selection_.chosen.emplace(candidate.module, choice(candidate, rule));
      } else if (candidate.kind != Kind::kEmbedding) {
        selection_.left_float.push_back(candidate.module);
      }
    }
    if (selection_.chosen.empty()) {
      fail("{}: expected a matrix to quantize, got none", checkpoint_.path());
    }
    std::sort(selection_.left_float.begin(), selection_.left_float.end());
    return std::move(selection_);
  }

 private:
  void check_patterns() const {
    for (const std::string& pattern : wanted_.include) {
      if (std::none_of(candidates_.begin(), candidates_.end(),
                       [&](const auto& one) { return included(one, pattern); }))
        fail(
            "{}: expected --include to match modules that can be quantized, "
            "got none for {}",
            checkpoint_.path(), pattern);
    }
    const std::set<std::string> modules = modules_of(checkpoint_);
    for (const std::string& pattern : wanted_.exclude) {
      if (std::none_of(modules.begin(), modules.end(), [&](const auto& name) {
            return matches(name, pattern);
          })) {
        fail("{}: expected --exclude to match modules, got none for {}",
             checkpoint_.path(), pattern);
      }
    }
    for (const Rule& rule : wanted_.policy) {
      if (std::none_of(candidates_.begin(), candidates_.end(),
                       [&](const auto& one) { return holds_for(one, rule); }))
        fail(
            "{}: expected each rule of the policy to match modules, got none "
            "for {}",
            checkpoint_.path(), rule.match);
    }
  }

  [[nodiscard]] const Rule* rule_for(const Candidate& candidate) const {
    for (const Rule& rule : wanted_.policy) {
      if (holds_for(candidate, rule)) return &rule;
    }
    return nullptr;
  }

  [[nodiscard]] bool is_selected(const Candidate& candidate,
                                 const Rule* rule) const {
    if (matches_any(candidate.module, wanted_.exclude)) return false;
    if (rule != nullptr && rule->skip) return false;
    if (!wanted_.weights && (rule == nullptr || !rule->weights)) return false;
    const auto& include = wanted_.include;
    const bool is_included = std::any_of(
        include.begin(), include.end(),
        [&](const auto& pattern) { return included(candidate, pattern); });
    if (candidate.kind != Kind::kLinear) return is_included || rule != nullptr;
    return include.empty() || is_included;
  }

  /// A head and an embedding that are one weight are quantized in Python only.
  void check_own_weight(const Candidate& candidate) const {
    if (tied_ &&
        (candidate.kind == Kind::kHead || candidate.kind == Kind::kEmbedding)) {
      fail(
          "{}: expected '{}' to have a weight of its own, got one that head "
          "and embedding share (tie_word_embeddings)",
          checkpoint_.path(), candidate.module);
    }
  }

  [[nodiscard]] Choice choice(const Candidate& candidate,
                              const Rule* rule) const {
    const QTypeId id =
        rule != nullptr && rule->weights ? *rule->weights : *wanted_.weights;
    const QType& type = qtype(id);
    const TensorInfo& tensor = *candidate.tensor;
    if (!tensor.type->dtype || !is_activation(*tensor.type->dtype)) {
      fail("{}: expected '{}' of F32, F16 or BF16, got {}",
           candidate.file->path(), tensor.name, tensor.type->name);
    }
    return {{id, group_size(candidate, rule, type)}, optimizer(rule, type)};
  }

  [[nodiscard]] std::optional<int64_t> group_size(const Candidate& candidate,
                                                  const Rule* rule,
                                                  const QType& type) const {
    const bool from_rule = rule != nullptr && rule->group_size;
    const auto asked = from_rule ? rule->group_size : wanted_.group_size;
    if (type.bits == 8) {
      if (from_rule || (asked && is_wanted(type))) {
        fail_usage("expected no group size for {}, got {}",
                   formats::short_name(type), *asked);
      }
      return std::nullopt;
    }
    const int64_t columns = candidate.tensor->shape[1];
    if (!asked) return automatic_group_size(columns);
    if (columns % *asked != 0) {
      fail(
          "{}: expected the group size to divide the {} columns of '{}', got "
          "{}",
          candidate.file->path(), columns, candidate.tensor->name, *asked);
    }
    return asked;
  }

  [[nodiscard]] Optimizer optimizer(const Rule* rule, const QType& type) const {
    const bool from_rule = rule != nullptr && rule->optimizer;
    const auto asked = from_rule ? rule->optimizer : wanted_.optimizer;
    const Optimizer usual =
        type.bits == 8 ? Optimizer::kAbsmax : Optimizer::kMax;
    if (!asked) return usual;
    if ((*asked == Optimizer::kAbsmax) == (type.bits == 8)) return *asked;
    // The command line's is for its own type, not for that of a rule.
    if (!from_rule && !is_wanted(type)) return usual;
    fail_usage("expected the optimizer {} for {}, got another",
               type.bits == 8 ? "absmax" : "max or hqq",
               formats::short_name(type));
  }

  [[nodiscard]] bool is_wanted(const QType& type) const {
    return wanted_.weights == type.id;
  }

  const io::Checkpoint& checkpoint_;
  const Wanted& wanted_;
  bool tied_;
  std::vector<Candidate> candidates_;
  Selection selection_;
};

}  // namespace

Selection select(const io::Checkpoint& checkpoint, const Json& config,
                 const Wanted& wanted) {
  return Selector(checkpoint, config, wanted).select();
}

}  // namespace quanto::cli
