// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/quantize.h"

#include <ostream>
#include <string_view>

#include "quanto/core/grouping.h"
#include "quanto/nn/check.h"
#include "quanto/nn/qtype.h"
#include "quanto/nn/selection.h"

namespace quanto {

namespace {

using nn::check;
using nn::Layer;
using nn::QModule;
using nn::Scheme;
using nn::Types;

const QType* named_type(const std::optional<std::string>& name) {
  return name ? &nn::as_qtype(*name) : nullptr;
}

Types types_of(const QuantizeOptions& options) {
  const Types types{named_type(options.weights),
                    named_type(options.activations), options.dynamic};
  check(types.weights != nullptr || types.activations != nullptr,
        "quantize: expected a type for weights or activations, got neither");
  check(!types.dynamic || types.activations != nullptr,
        "quantize: expected a type for activations with dynamic, got none");
  if (types.activations != nullptr) {
    check(types.activations->bits == 8,
          "quantize: expected an 8-bit type for activations, got ",
          types.activations->name);
  }
  return types;
}

OptimizerPtr optimizer_of(const Types& types, const QuantizeOptions& options) {
  if (types.weights == nullptr) {
    check(!options.optimizer,
          "quantize: expected no optimizer without weights, got one");
    check(!options.group_size,
          "quantize: expected no group_size without weights, got one");
    return nullptr;
  }
  if (!options.optimizer) return default_optimizer(*types.weights);
  nn::check_optimizer("quantize", *types.weights, *options.optimizer);
  return options.optimizer;
}

bool is_frozen(const Layer& layer) {
  return layer.quantizable != nullptr && layer.quantizable->frozen();
}

int64_t elements_per_output(const at::Tensor& weight) {
  return weight.numel() / weight.size(0);
}

void check_layer(const Layer& layer, const Types& types,
                 std::optional<int64_t> group_size) {
  const std::string& name = layer.names.front();
  if (layer.weight.defined()) {
    const at::ScalarType dtype = layer.weight.scalar_type();
    check(dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16,
          "quantize: expected ", name,
          ".weight of float32, float16 or bfloat16, got ", dtype);
  }
  if (!layer.kind->quantizes_weight || is_frozen(layer)) return;
  check(types.weights != nullptr,
        "quantize: expected a type for weights too, which ", name, " (",
        layer.kind->name, ") has, got activations only");
  if (group_size) {
    nn::check_group_size("quantize: " + name, *types.weights, *group_size,
                         elements_per_output(layer.weight));
  }
}

/// Fills in what concerns the weight.
void add_weights(Scheme& scheme, const Layer& layer, const Types& types,
                 std::optional<int64_t> group_size,
                 const OptimizerPtr& optimizer) {
  if (is_frozen(layer)) {
    const Scheme& kept = layer.quantizable->scheme();
    scheme.weights = kept.weights;
    scheme.group_size = kept.group_size;
    scheme.optimizer = kept.optimizer;
    return;
  }
  scheme.weights = types.weights;
  scheme.optimizer = optimizer;
  if (types.weights->bits == 8) return;
  scheme.group_size =
      group_size ? group_size
                 : automatic_group_size(elements_per_output(layer.weight));
}

/// Fills in what concerns the activations; sides that a calibration has decided
/// on for the same ones are kept.
void add_activations(Scheme& scheme, const Layer& layer, const Types& types) {
  if (types.activations == nullptr) return;
  scheme.activations = types.activations;
  scheme.dynamic = types.dynamic;
  scheme.quantizes_input = layer.kind->quantizes_input;
  scheme.quantizes_output = !types.dynamic;
  if (layer.quantizable == nullptr || !layer.quantizable->quantized()) return;
  const Scheme& before = layer.quantizable->scheme();
  if (before.activations == types.activations &&
      before.dynamic == types.dynamic) {
    scheme.quantizes_input = before.quantizes_input;
    scheme.quantizes_output = before.quantizes_output;
  }
}

void print(std::ostream& stream, std::string_view heading,
           const std::vector<LayerLeft>& layers) {
  for (const LayerLeft& layer : layers) {
    stream << "\n"
           << heading << ": " << layer.name << " (" << layer.reason << ")";
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& stream, const QuantizeReport& report) {
  const size_t stay =
      report.out_of_reach.size() + report.excluded.size() + report.left.size();
  stream << report.switched.size() << " layers quantized, " << stay
         << " left as they are";
  print(stream, "out of reach", report.out_of_reach);
  print(stream, "left", report.left);
  for (const std::string& name : report.excluded) {
    stream << "\nexcluded: " << name;
  }
  return stream;
}

QuantizeReport quantize(torch::nn::Module& model,
                        const QuantizeOptions& options) {
  const Types types = types_of(options);
  const OptimizerPtr optimizer = optimizer_of(types, options);
  nn::Selection selection = nn::select(model, types, options);
  for (const Layer& layer : selection.chosen) {
    check_layer(layer, types, options.group_size);
  }
  const auto notice = std::make_shared<nn::Notice>();
  for (Layer& layer : selection.chosen) {
    Scheme scheme;
    if (layer.kind->quantizes_weight) {
      add_weights(scheme, layer, types, options.group_size, optimizer);
    }
    if (layer.kind->quantizes_activations) {
      add_activations(scheme, layer, types);
    }
    QModule& quantizable = nn::reach(model, layer);
    quantizable.switch_on(std::move(scheme));
    quantizable.share_notice(notice);
  }
  return std::move(selection.report);
}

}  // namespace quanto
