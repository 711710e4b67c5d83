// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/candidates.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "quanto/cli/failure.h"
#include "quanto/core/patterns.h"
#include "quanto/formats/quanto.h"
#include "quanto/formats/tensors.h"

namespace quanto::cli {
namespace {

using io::Json;
using io::TensorInfo;

/// Models whose matrices are those of transformers' Conv1D: [inputs][outputs].
constexpr std::array<std::string_view, 5> kConv1DModels = {
    "gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp"};

template <size_t kCount>
bool is_one_of(std::string_view name,
               const std::array<std::string_view, kCount>& names) {
  return std::ranges::find(names, name) != names.end();
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

std::string text_of(const Json& config, const char* key) {
  const auto found = config.is_object() ? config.find(key) : config.end();
  if (found == config.end() || !found->is_string()) return "";
  return found->get<std::string>();
}

/// Whether a pattern that matches the module says that it means this one
/// though it is no plain Linear.
bool names_special(const Candidate& candidate, std::string_view pattern) {
  return candidate.kind != Kind::kExpert ||
         pattern.find("expert") != std::string_view::npos;
}

bool is_causal_model(const Json& config) {
  const auto found = config.find("architectures");
  return found != config.end() && found->is_array() && found->size() == 1 &&
         found->front().is_string() &&
         found->front().get<std::string>().ends_with("ForCausalLM");
}

/// Gives the embedding of tokens its head where transformers ties them. Only
/// causal models whose embedding has a name that goes with a head `lm_head`:
/// the file does not name the head.
void name_tied_head(std::vector<Candidate>& candidates, const Json& config) {
  constexpr std::array<std::string_view, 2> kTokens = {"embed_tokens", "wte"};
  if (!ties_embeddings(config) || !is_causal_model(config)) return;
  Candidate* tokens = nullptr;
  for (Candidate& candidate : candidates) {
    if (candidate.kind == Kind::kHead) return;
    if (!is_one_of(leaf_of(candidate.module), kTokens)) continue;
    if (tokens != nullptr) return;
    tokens = &candidate;
  }
  if (tokens != nullptr) tokens->head = "lm_head";
}

/// By the stored name, another one that the tensor has.
std::map<std::string, std::string> other_names(
    const io::Checkpoint& checkpoint) {
  std::map<std::string, std::string> names;
  const auto tensors = unwrap(formats::Tensors::read(checkpoint));
  for (const auto& [name, found] : tensors.all()) {
    if (name != found.tensor->name) names.emplace(found.tensor->name, name);
  }
  return names;
}

}  // namespace

bool ties_embeddings(const Json& config) {
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
  const auto others = other_names(checkpoint);
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
      const auto other = others.find(tensor.name);
      candidates.push_back({*module, kind_of(*module), &file, &tensor,
                            other == others.end() ? "" : other->second});
    }
  }
  name_tied_head(candidates, config);
  return candidates;
}

bool included(const Candidate& candidate, const std::string& pattern) {
  if (candidate.kind == Kind::kLinear) {
    return matches(candidate.module, pattern);
  }
  return (names_it(candidate.module, pattern) &&
          names_special(candidate, pattern)) ||
         (!candidate.head.empty() && names_it(candidate.head, pattern));
}

bool holds_for(const Candidate& candidate, const Rule& rule) {
  if (!candidate.head.empty() && rule.finds(candidate.head) &&
      (rule.skip || rule.match.find(candidate.head) != std::string::npos)) {
    return true;
  }
  if (!rule.finds(candidate.module)) return false;
  return candidate.kind == Kind::kLinear || rule.skip ||
         (rule.match.find(leaf_of(candidate.module)) != std::string::npos &&
          names_special(candidate, rule.match));
}

}  // namespace quanto::cli
