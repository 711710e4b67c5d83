// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/selection.h"

#include <algorithm>
#include <set>

#include "quanto/cli/candidates.h"
#include "quanto/cli/failure.h"
#include "quanto/core/grouping.h"
#include "quanto/core/patterns.h"

namespace quanto::cli {
namespace {

using formats::Optimizer;
using io::Json;
using io::TensorInfo;

/// Every module that a tensor belongs to, parents included, and tied heads.
std::set<std::string> modules_of(const io::Checkpoint& checkpoint,
                                 const std::vector<Candidate>& candidates) {
  std::set<std::string> modules;
  for (const Candidate& candidate : candidates) {
    if (!candidate.head.empty()) modules.insert(candidate.head);
  }
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

class Selector {
 public:
  Selector(const io::Checkpoint& checkpoint, const Json& config,
           const Wanted& wanted)
      : checkpoint_(checkpoint),
        wanted_(wanted),
        tied_(ties_embeddings(config)),
        candidates_(candidates_of(checkpoint, config)) {}

  Selection select() {
    check_patterns();
    for (const Candidate& candidate : candidates_) {
      const Rule* rule = rule_for(candidate);
      const auto type =
          rule != nullptr && rule->weights ? rule->weights : wanted_.weights;
      if (type && is_selected(candidate, rule)) {
        check_own_weight(candidate);
        choose(candidate, choice(candidate, rule, qtype(*type)));
      } else if (candidate.kind != Kind::kEmbedding) {
        selection_.left_float.push_back(candidate.module);
      }
    }
    if (selection_.chosen.empty()) {
      fail("{}: expected a matrix to quantize, got none", checkpoint_.path());
    }
    std::ranges::sort(selection_.left_float);
    return std::move(selection_);
  }

 private:
  void choose(const Candidate& candidate, const Choice& choice) {
    selection_.chosen.emplace(candidate.module, choice);
    if (candidate.head.empty()) return;
    selection_.chosen.emplace(candidate.head, choice);
    selection_.heads.emplace(candidate.module, candidate.head);
  }

  void check_patterns() const {
    for (const std::string& pattern : wanted_.include) {
      if (std::ranges::none_of(candidates_, [&](const auto& one) {
            return included(one, pattern);
          }))
        fail(
            "{}: expected --include to match modules that can be quantized, "
            "got none for {}",
            checkpoint_.path(), pattern);
    }
    const std::set<std::string> modules = modules_of(checkpoint_, candidates_);
    for (const std::string& pattern : wanted_.exclude) {
      if (std::ranges::none_of(modules, [&](const auto& name) {
            return matches(name, pattern);
          })) {
        fail("{}: expected --exclude to match modules, got none for {}",
             checkpoint_.path(), pattern);
      }
    }
    for (const Rule& rule : wanted_.policy) {
      if (std::ranges::none_of(candidates_, [&](const auto& one) {
            return holds_for(one, rule);
          }))
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
    const bool excluded = matches_any(candidate.module, wanted_.exclude);
    if (rule != nullptr && rule->skip) return false;
    if (excluded && candidate.head.empty()) return false;
    const auto& include = wanted_.include;
    const bool is_included = std::ranges::any_of(
        include,
        [&](const auto& pattern) { return included(candidate, pattern); });
    if (candidate.kind != Kind::kLinear || !candidate.other_name.empty()) {
      return (is_included || rule != nullptr) &&
             !leaves_out_both(candidate, excluded);
    }
    return include.empty() || is_included;
  }

  /// Whether --exclude means an embedding and its head; fails if it means one.
  [[nodiscard]] bool leaves_out_both(const Candidate& embedding,
                                     bool excluded) const {
    if (embedding.head.empty()) return false;
    if (matches_any(embedding.head, wanted_.exclude) != excluded) {
      fail(
          "{}: expected '{}' and '{}', which share a weight, to be quantized "
          "both or left float both, got --exclude for one",
          checkpoint_.path(), embedding.module, embedding.head);
    }
    return excluded;
  }

  /// Modules that share one weight are quantized in Python only, but for the
  /// head and the embedding of a causal model.
  void check_own_weight(const Candidate& candidate) const {
    if (!candidate.other_name.empty()) {
      fail(
          "{}: expected '{}' to have a weight of its own, got one that is also "
          "'{}'",
          candidate.file->path(), candidate.module, candidate.other_name);
    }
    if (tied_ && candidate.head.empty() &&
        (candidate.kind == Kind::kHead || candidate.kind == Kind::kEmbedding)) {
      fail(
          "{}: expected '{}' to have a weight of its own, got one that head "
          "and embedding share (tie_word_embeddings)",
          checkpoint_.path(), candidate.module);
    }
  }

  [[nodiscard]] Choice choice(const Candidate& candidate, const Rule* rule,
                              const QType& type) const {
    const TensorInfo& tensor = *candidate.tensor;
    if (!io::is_float(*tensor.type)) {
      fail("{}: expected '{}' of F32, F16 or BF16, got {}",
           candidate.file->path(), tensor.name, tensor.type->name);
    }
    return {{type.id, group_size(candidate, rule, type)},
            optimizer(rule, type)};
  }

  [[nodiscard]] std::optional<int64_t> group_size(const Candidate& candidate,
                                                  const Rule* rule,
                                                  const QType& type) const {
    const bool from_rule = rule != nullptr && rule->group_size;
    const auto asked = from_rule ? rule->group_size : wanted_.group_size;
    if (type.bits == 8) {
      if (asked && (from_rule || is_wanted(type))) {
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
