// Malformed GGUF: G87 to G89, what is wrong with the file rather than with its bytes; and paths beyond the list.
#include <sys/stat.h>

#include <filesystem>

#include "tests/support/gguf_builder.h"
#include "tests/unit/hostile/corpus.h"

namespace apr::test {
namespace {

namespace fs = std::filesystem;

template <class Prepare>
Case no_file(const char* id, const char* variant, Prepare prepare, const char* message, const char* found) {
  return {
      id, variant, [=](const TempFolder& folder) {
        return refused(prepare(folder), message, std::nullopt, "", found).from_path().with_code(ErrorCode::NotFound);
      }};
}

struct Shard {
  std::uint16_t no = 0, count = 3;
  std::int32_t tensors_count = 6;
  std::string second_name = {};
  [[nodiscard]] std::string bytes() const {
    GgufBuilder b;
    if (no == 0) b.architecture();
    b.kv("split.no", kU16, no);
    b.kv("split.count", kU16, count);
    b.kv("split.tensors.count", kI32, tensors_count);
    const std::string name = "t" + std::to_string(no + 1);
    b.f32(name + ".0", 8);
    b.f32(second_name.empty() ? name + ".1" : second_name, 8);
    return b.bytes();
  }
};
std::string shard_path(const TempFolder& folder, int number) {
  return folder.path("m-0000" + std::to_string(number) + "-of-00003.gguf");
}
/// Three sound shards, then changed; the model is opened by its first one.
template <class Change>
Case shards(const char* variant, Change change, const char* rule, std::optional<std::uint64_t> offset,
            const char* field, const char* found) {
  return {"G89", variant, [=](const TempFolder& folder) {
            for (std::uint16_t no = 0; no < 3; ++no)
              folder.write("m-0000" + std::to_string(no + 1) + "-of-00003.gguf", Shard{no}.bytes());
            change(folder);
            return error(shard_path(folder, 1), rule, offset, field, found).from_path();
          }};
}
void replace(const TempFolder& folder, int number, const std::string& bytes) {
  folder.write("m-0000" + std::to_string(number) + "-of-00003.gguf", bytes);
}

void add_kinds_of_file(Cases& all) {
  const auto path = [](const char* text) { return [text](const TempFolder&) { return std::string(text); }; };
  const char* cannot = "cannot open the file";
  const char* not_regular = "not a regular file";
  all.push_back(no_file("G88", "missing", path("/nonexistent/model.gguf"), cannot, ""));
  all.push_back(no_file("G88", "dev_zero", path("/dev/zero"), not_regular, "a character device"));
  all.push_back(no_file("G88", "empty_path", path(""), "the path is empty", ""));
  all.push_back(no_file(
      "G88", "fifo",
      [](const TempFolder& folder) {
        EXPECT_EQ(mkfifo(folder.path("fifo").c_str(), 0600), 0);
        return folder.path("fifo");  // nobody writes into it: opening must not wait
      },
      not_regular, "a FIFO"));
  all.push_back(no_file(
      "G88", "directory",
      [](const TempFolder& folder) {
        fs::create_directory(folder.path("dir.gguf"));
        return folder.path("dir.gguf");
      },
      "no SafeTensors model in this folder", ""));
  all.push_back(no_file(
      "G88", "symlink_loop",
      [](const TempFolder& folder) {
        fs::create_symlink(folder.path("b"), folder.path("a"));
        fs::create_symlink(folder.path("a"), folder.path("b"));
        return folder.path("a");
      },
      "Too many levels of symbolic links", ""));
  all.push_back(no_file(
      "G88", "dangling_symlink",
      [](const TempFolder& folder) {
        fs::create_symlink(folder.path("gone"), folder.path("link"));
        return folder.path("link");
      },
      "No such file", ""));
  all.push_back(no_file(
      "G88", "below_a_file", [](const TempFolder& folder) { return folder.write("f", "x") + "/model.gguf"; },
      "Not a directory", ""));
  all.push_back(no_file(
      "X10", "name_too_long", [](const TempFolder& folder) { return folder.path(std::string(5000, 'n')); },
      "File name too long", ""));
  all.push_back(no_file(
      "X10", "nul_in_the_path", [](const TempFolder& folder) { return folder.path(std::string("a\0b", 3)); },
      "the path holds a NUL byte", ""));
  for (const auto& [variant, name] : {std::pair{"newline", "new\nline.gguf"},
                                      {"utf8", "invalid\xff\xfe.gguf"},
                                      {"escape", "esc\x1b[2J.gguf"},
                                      {"space", " "}})
    all.push_back({"X10", std::string("name_with_") + variant, [name = name](const TempFolder& folder) {
                     return clean(folder.write(name, small_gguf().bytes())).from_path();
                   }});
}

void add_shards(Cases& all) {
  all.push_back(shards(
      "missing", [](const TempFolder& f) { fs::remove(shard_path(f, 2)); }, "gguf.split.missing", std::nullopt, "shard",
      "No such file"));
  all.push_back(shards(
      "duplicated", [](const TempFolder& f) { replace(f, 3, Shard{1}.bytes()); }, "gguf.split.no", 24 + 8 + 8 + 4,
      "metadata[\"split.no\"].value", "1"));
  all.push_back(shards(
      "wrong_order",
      [](const TempFolder& f) {
        replace(f, 2, Shard{2}.bytes());
        replace(f, 3, Shard{1}.bytes());
      },
      "gguf.split.no", 24 + 8 + 8 + 4, "metadata[\"split.no\"].value", "2"));
  all.push_back(shards(
      "count",
      [](const TempFolder& f) {
        replace(f, 2, Shard{1, 4}.bytes());
      },
      "gguf.split.count", 24 + 8 + 8 + 4 + 2 + 8 + 11 + 4, "metadata[\"split.count\"].value", "4"));
  all.push_back(shards(
      "tensor_twice",
      [](const TempFolder& f) {
        replace(f, 3, Shard{2, 3, 6, "t1.0"}.bytes());
      },
      "gguf.split.duplicate", 142, "name", "m-00001-of-00003.gguf"));
  all.push_back(shards(
      "no_gguf", [](const TempFolder& f) { replace(f, 3, "<!DOCTYPE html>"); }, "gguf.split.not_gguf", 0, "magic",
      "an HTML page"));
}

}  // namespace

Cases gguf_file_cases() {
  Cases all;
  all.push_back({"G87", "shrinks", [](const TempFolder&) {
                   GgufBuilder b;
                   b.architecture();
                   b.tensor("a", {1 << 16}, kGgmlF32, 4 << 16);
                   return refused(b.bytes(), "the file became shorter while it was read", 100, "", "100 bytes")
                       .with_code(ErrorCode::Io)
                       .at_stage(Stage::Shrinks);
                 }});
  all.push_back({"G87", "grows", [](const TempFolder&) {
                   return refused(small_gguf().bytes(), "the file changed while it was read", std::nullopt, "")
                       .with_code(ErrorCode::Io)
                       .at_stage(Stage::Grows);
                 }});
  add_kinds_of_file(all);
  add_shards(all);
  return all;
}
INSTANTIATE_TEST_SUITE_P(File, GgufCorpus, testing::ValuesIn(gguf_file_cases()), case_name);

}  // namespace apr::test
