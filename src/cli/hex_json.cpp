#include "src/cli/hex_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace apr::cli {
namespace {

using format::ModelFile;

constexpr int kArrayDepth = 3;
constexpr std::size_t kHeaderBytesShown = 64;  // of one header field; longer ones are text that has its own member

std::string bytes_hex(std::span<const std::byte> bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  constexpr char kDigits[] = "0123456789abcdef";
  for (const std::byte b : bytes) {
    const auto v = std::to_integer<unsigned>(b);
    out += kDigits[v >> 4];
    out += kDigits[v & 15];
  }
  return out;
}

/// A float as its shortest decimal form, so that JSON and text show the same digits.
double shortest(float value) {
  return std::isfinite(value) ? std::strtod(fmt::format("{}", value).c_str(), nullptr) : static_cast<double>(value);
}

double as_double(float value) {
  return shortest(value);
}
double as_double(double value) {
  return value;
}

/// values: numbers, null where not finite; non_finite: [{index, value}] for each null.
void put_numbers(Json& object, const std::vector<inspect::Number>& numbers) {
  Json values = Json::array();
  Json non_finite = Json::array();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    std::visit(
        [&](const auto v) {
          if constexpr (std::is_floating_point_v<decltype(v)>) {
            if (const auto reason = non_finite_name(static_cast<double>(v))) {
              values.push_back(nullptr);
              non_finite.push_back({{"index", i}, {"value", *reason}});
            } else {
              values.push_back(as_double(v));
            }
          } else {
            values.push_back(v);
          }
        },
        numbers[i]);
  }
  object["values"] = std::move(values);
  object["non_finite"] = std::move(non_finite);
}

Json array_json(const format::ArrayRef& array, std::uint64_t limit, int depth);

void put_value(Json& object, std::string_view key, const format::Value& value, std::uint64_t limit, int depth) {
  using format::ValueType;
  const std::string k(key);
  switch (value.type()) {
    case ValueType::String:
      return put_text(object, key, value.as_string().value_or(""));
    case ValueType::Bool:
      object[k] = value.as_bool().value_or(false);
      return;
    case ValueType::F32:
      return put_number(object, key, shortest(static_cast<float>(value.as_f64().value_or(0))));
    case ValueType::F64:
      return put_number(object, key, value.as_f64().value_or(0));
    case ValueType::Null:
      object[k] = nullptr;
      return;
    case ValueType::Object:
      return put_text(object, key, value.as_object()->text);
    case ValueType::Array:
      object[k] = array_json(*value.as_array(), limit, depth);
      return;
    default:
      break;
  }
  if (const auto i = value.as_i64())
    object[k] = *i;
  else
    object[k] = value.as_u64().value_or(0);
}

Json array_json(const format::ArrayRef& array, std::uint64_t limit, int depth) {
  Json j;
  j["element"] = name(array.element);
  j["count"] = array.count;
  j["first"] = Json::array();
  array.for_each([&](std::uint64_t i, const format::Value& value) {
    if (i >= limit || depth == 0) return false;
    Json item = Json::object();
    put_value(item, "v", value, limit, depth - 1);
    if (item.size() == 1)
      j["first"].push_back(std::move(item["v"]));
    else  // a text that is no UTF-8, or a number that is not finite: keep what its sibling says
      j["first"].push_back(std::move(item));
    return true;
  });
  return j;
}

Json metadata_json(const format::MetadataEntry& entry, std::uint64_t limit) {
  Json j;
  put_text(j, "key", entry.key);
  j["type"] = name(entry.value.type());
  j["offset"] = entry.key_offset;
  j["value_offset"] = entry.value_offset;
  j["end_offset"] = entry.end_offset;
  j["file_index"] = entry.file_index;
  put_value(j, "value", entry.value, limit, kArrayDepth);
  return j;
}

void put_model(Json& j, const ModelFile& model) {
  j["format_version"] = model.version.empty() ? Json(nullptr) : Json(model.version);
  j["byte_order"] = model.byte_order == std::endian::big ? "big" : "little";
  j["alignment"] = model.alignment;
  j["data_offset"] = model.data_offset;
  j["files"] = Json::array();
  for (const auto& file : model.files) {
    Json f;
    put_text(f, "path", file->path());
    f["size_bytes"] = file->size();
    j["files"].push_back(std::move(f));
  }
}

void put_type(Json& j, const format::TensorInfo& tensor) {
  j["dtype"] = tensor.type == TensorType::Unknown ? Json(nullptr) : Json(name(tensor.type));
  if (tensor.type != TensorType::Unknown) return;
  if (tensor.raw_type_name.empty())
    j["dtype_raw"] = tensor.raw_type;
  else
    put_text(j, "dtype_raw", tensor.raw_type_name);
}

Json tensor_info_json(std::size_t index, const format::TensorInfo& t) {
  Json j;
  j["index"] = index;
  put_text(j, "name", t.name);
  put_type(j, t);
  j["shape"] = t.shape;
  j["n_elements"] = t.n_elements;
  j["offset"] = t.offset;
  j["size_bytes"] = t.size_bytes;
  j["file_index"] = t.file_index;
  j["readable"] = t.readable;
  return j;
}

Json regions_json(const ModelFile& model) {
  Json regions = Json::array();
  for (const format::Region& r : model.regions)
    regions.push_back(
        {{"name", r.name}, {"file_index", r.file_index}, {"offset", r.offset}, {"size_bytes", r.size_bytes}});
  return regions;
}

std::string_view checksum_name(inspect::DataChecksum state) {
  switch (state) {
    case inspect::DataChecksum::NoneInFormat:
      return "none_in_format";
    case inspect::DataChecksum::NotVerified:
      return "not_verified";
    case inspect::DataChecksum::Good:
      return "correct";
    case inspect::DataChecksum::Bad:
      return "wrong";
  }
  return "not_verified";
}

Json section_json(const inspect::HeaderSection& section) {
  Json s;
  s["title"] = section.title;
  s["file_index"] = section.file_index;
  s["fields"] = Json::array();
  for (const inspect::HeaderField& field : section.fields) {
    Json f;
    f["offset"] = field.offset;
    f["size_bytes"] = field.bytes.size();
    f["bytes_hex"] = bytes_hex(field.bytes.first(std::min(field.bytes.size(), kHeaderBytesShown)));
    f["name"] = field.name;
    if (field.number)
      f["value"] = *field.number;
    else
      put_text(f, "value", field.value);
    if (field.cut) f["value_cut"] = true;
    if (field.computed) f["computed"] = *field.computed;
    f["meaning"] = field.meaning;
    s["fields"].push_back(std::move(f));
  }
  return s;
}

}  // namespace

void put_summary(Json& document, const ModelFile& model, const inspect::Summary& summary) {
  put_model(document, model);
  document["total_bytes"] = summary.total_bytes;
  document["tensor_bytes"] = summary.tensor_bytes;
  document["n_tensors"] = summary.n_tensors;
  document["n_unreadable"] = summary.n_unreadable;
  document["n_parameters"] = summary.n_parameters;
  document["n_metadata"] = model.metadata.size();
  document["data_checksum"] = checksum_name(summary.data_checksum);
  document["types"] = Json::array();
  for (const inspect::TypeShare& t : summary.types) {
    Json share;
    put_text(share, "name", t.name);
    share["n_tensors"] = t.n_tensors;
    share["n_elements"] = t.n_elements;
    share["size_bytes"] = t.size_bytes;
    share["share"] = t.share;
    document["types"].push_back(std::move(share));
  }
  document["key_metadata"] = Json::array();
  for (const auto* entry : summary.key_metadata) document["key_metadata"].push_back(metadata_json(*entry, 2));
  document["regions"] = regions_json(model);
  document["companions"] = Json::array();
  for (const std::string& path : model.companions) {
    Json c;
    put_text(c, "path", path);
    document["companions"].push_back(std::move(c));
  }
}

void put_header(Json& document, const ModelFile& model, const inspect::HeaderReport& report, std::uint64_t limit) {
  put_model(document, model);
  document["sections"] = Json::array();
  for (const auto& section : report.sections) document["sections"].push_back(section_json(section));
  document["metadata"] = Json::array();
  for (const auto& entry : *report.metadata) document["metadata"].push_back(metadata_json(entry, limit));
  document["regions"] = regions_json(model);
}

void put_list(Json& document, const ModelFile& model) {
  put_model(document, model);
  const inspect::Summary summary = inspect::summarize(model);
  document["n_tensors"] = summary.n_tensors;
  document["n_parameters"] = summary.n_parameters;
  document["tensor_bytes"] = summary.tensor_bytes;
  document["tensors"] = Json::array();
  for (std::size_t i = 0; i < model.tensors.size(); ++i)
    document["tensors"].push_back(tensor_info_json(i, model.tensors[i]));
}

Json tensor_json(const inspect::TensorReport& report) {
  Json j = tensor_info_json(report.index, *report.info);
  j["info_offset"] = report.info->info_offset;
  j["info_size"] = report.info->info_size;
  j["first_bytes_hex"] = bytes_hex(report.first_bytes);
  if (report.first_block) {
    Json b;
    b["index"] = report.first_block->index;
    b["offset"] = report.first_block->offset;
    b["size_bytes"] = report.first_block->bytes.size();
    b["fields"] = Json::array();
    for (const auto& field : report.first_block->fields) {
      Json f;
      f["name"] = field.name;
      f["offset"] = field.offset;
      f["bytes_hex"] = bytes_hex(field.bytes);
      if (field.encoding != FieldEncoding::Packed) put_numbers(f, field.values);
      b["fields"].push_back(std::move(f));
    }
    j["first_block"] = std::move(b);
  }
  put_numbers(j, report.values);
  if (!report.no_values_reason.empty()) j["values_reason"] = report.no_values_reason;
  return j;
}

void put_raw(Json& document, std::span<const std::byte> bytes, std::uint64_t offset, std::uint64_t width) {
  document["offset"] = offset;
  document["size_bytes"] = bytes.size();
  document["width"] = width;
  document["rows"] = Json::array();
  for (std::size_t at = 0; at < bytes.size(); at += width) {
    const auto row = bytes.subspan(at, std::min<std::size_t>(width, bytes.size() - at));
    std::string ascii;
    for (const std::byte b : row) {
      const auto v = std::to_integer<unsigned char>(b);
      ascii += v >= 0x20 && v < 0x7F ? static_cast<char>(v) : '.';
    }
    document["rows"].push_back({{"offset", offset + at}, {"hex", bytes_hex(row)}, {"ascii", ascii}});
  }
}

}  // namespace apr::cli
