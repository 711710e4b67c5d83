// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/selection.h"

#include <algorithm>
#include <set>
#include <utility>

#include "quanto/core/patterns.h"
#include "quanto/nn/check.h"
#include "quanto/nn/sharing.h"

namespace quanto::nn {

namespace {

using Names = std::vector<std::string>;

bool any_matches(const Names& names, const Names& patterns) {
  return std::ranges::any_of(names, [&](const std::string& name) {
    return matches_any(name, patterns);
  });
}

bool any_named(const Names& names, const Names& patterns) {
  return std::ranges::any_of(names, [&](const std::string& name) {
    return std::ranges::any_of(patterns, [&](const std::string& pattern) {
      return names_it(name, pattern);
    });
  });
}

std::string joined(const Names& parts) {
  std::string all;
  for (const std::string& part : parts) all += (all.empty() ? "" : ", ") + part;
  return all;
}

void check_include(const std::vector<Layer>& layers, const Names& include) {
  Names unmatched;
  for (const std::string& pattern : include) {
    const bool found = std::ranges::any_of(layers, [&](const Layer& layer) {
      return layer.kind->only_when_named ? any_named(layer.names, {pattern})
                                         : any_matches(layer.names, {pattern});
    });
    if (!found) unmatched.push_back(pattern);
  }
  check(unmatched.empty(),
        "quantize: expected include to match layers that can be quantized, got "
        "none for ",
        joined(unmatched));
}

void check_exclude(torch::nn::Module& model, const Names& exclude) {
  const auto modules = model.named_modules("", /*include_self=*/false);
  Names unmatched;
  for (const std::string& pattern : exclude) {
    const bool found = std::ranges::any_of(modules, [&](const auto& module) {
      return matches(module.key(), pattern);
    });
    if (!found) unmatched.push_back(pattern);
  }
  check(unmatched.empty(),
        "quantize: expected exclude to match modules, got none for ",
        joined(unmatched));
}

bool is_quantized(const Layer& layer) {
  return layer.quantizable != nullptr && layer.quantizable->quantized();
}

class Chooser {
 public:
  Chooser(torch::nn::Module& model, const Types& types,
          const QuantizeOptions& options)
      : types_(types),
        include_(options.include.value_or(Names())),
        includes_all_(!options.include),
        exclude_(options.exclude),
        layers_(find_layers(model)),
        sharers_(find_sharers(model, layers_)) {
    check_include(layers_, include_);
    check_exclude(model, exclude_);
  }

  Selection choose() && {
    for (size_t i = 0; i < layers_.size(); ++i) consider(i);
    check_something_chosen();
    for (const size_t place : chosen_) {
      selection_.report.switched.push_back(layers_[place].names.front());
      selection_.chosen.push_back(layers_[place]);
    }
    return std::move(selection_);
  }

 private:
  /// Whether anything of the layer would be quantized to these types.
  [[nodiscard]] bool applies(const Layer& layer) const {
    return layer.kind->quantizes_weight ||
           (types_.activations != nullptr && !types_.dynamic);
  }

  [[nodiscard]] bool selected(const Layer& layer) const {
    const bool by_name = includes_all_ || any_matches(layer.names, include_);
    if (!layer.kind->only_when_named) return by_name;
    return any_named(layer.names, include_) || (is_quantized(layer) && by_name);
  }

  [[nodiscard]] bool chosen(size_t place) const {
    return std::ranges::find(chosen_, place) != chosen_.end();
  }

  /// Why this layer cannot take these types; "" if it can.
  [[nodiscard]] std::string obstacle(const Layer& layer) const {
    if (!layer.obstacle.empty()) return layer.obstacle;
    if (layer.quantizable == nullptr || !layer.quantizable->frozen()) return {};
    const QType* frozen = layer.quantizable->scheme().weights;
    const bool kept = types_.weights == nullptr || types_.weights == frozen;
    if (types_.activations != nullptr && kept) return {};
    return "frozen as " + std::string(frozen->name);
  }

  /// Chooses the layer, leaves it, or leaves it and notes why.
  void consider(size_t place) {
    const Layer& layer = layers_[place];
    if (!applies(layer) || !selected(layer)) return;
    const std::string& name = layer.names.front();
    QuantizeReport& report = selection_.report;
    if (any_matches(layer.names, exclude_)) {
      report.excluded.push_back(name);
      return;
    }
    if (chosen(place)) return;
    const auto shared = sharers_.find(place);
    if (const std::string reason = obstacle(layer); !reason.empty()) {
      (layer.out_of_reach ? report.out_of_reach : report.left)
          .push_back({name, reason});
    } else if (shared != sharers_.end() && !any_named(layer.names, include_) &&
               !all_quantized(shared->second)) {
      report.left.push_back(
          {name, "its weight is shared with " + shared->second.front().name});
    } else {
      chosen_.push_back(place);
      if (shared == sharers_.end()) return;
      for (const Sharer& other : shared->second) choose_with(name, other);
    }
  }

  [[nodiscard]] bool all_quantized(const std::vector<Sharer>& others) const {
    return std::ranges::all_of(others, [&](const Sharer& other) {
      return other.layer && is_quantized(layers_[*other.layer]);
    });
  }

  /// Chooses the layer that shares the weight of a chosen one: the weight is
  /// kept once.
  void choose_with(const std::string& name, const Sharer& other) {
    if (other.layer && chosen(*other.layer)) return;
    std::string reason = "it is no layer that can be quantized";
    if (other.layer) {
      const Layer& layer = layers_[*other.layer];
      reason = any_matches(layer.names, exclude_) ? "exclude leaves it out"
                                                  : obstacle(layer);
    }
    check(reason.empty(), "quantize: expected ", name, " and ", other.name,
          " to be quantized both, as they share a weight, got a reason not "
          "to: ",
          reason);
    chosen_.push_back(*other.layer);
  }

  void check_something_chosen() const {
    const bool frozen = std::ranges::any_of(layers_, [](const Layer& layer) {
      return layer.quantizable != nullptr && layer.quantizable->frozen();
    });
    if (!chosen_.empty() || frozen) return;
    Names reasons;
    for (const auto* left :
         {&selection_.report.out_of_reach, &selection_.report.left}) {
      for (const LayerLeft& each : *left) {
        reasons.push_back(each.name + " (" + each.reason + ")");
      }
    }
    check(false, "quantize: expected a layer to quantize, got none",
          reasons.empty() ? "" : "; ", joined(reasons));
  }

  Types types_;
  Names include_;
  bool includes_all_;
  Names exclude_;
  std::vector<Layer> layers_;
  std::map<size_t, std::vector<Sharer>> sharers_;
  std::vector<size_t> chosen_;
  Selection selection_;
};

}  // namespace

Selection select(torch::nn::Module& model, const Types& types,
                 const QuantizeOptions& options) {
  return Chooser(model, types, options).choose();
}

}  // namespace quanto::nn
