// Manifests: hashes against plain computation, and damage found to the chunk.
#include "apr/inspect/manifest.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/weights_file.h"

namespace apr::inspect {
namespace {

std::span<const std::byte> as_bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

Sha256Digest hash(const std::string& bytes) {
  Sha256 h;
  h.update(as_bytes(bytes));
  return h.finish_digest();
}

std::string raw(const Sha256Digest& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }

/// RFC 6962 2.1, written down a second time.
Sha256Digest plain_root(const std::vector<Sha256Digest>& leaves) {
  if (leaves.empty()) return hash("");
  if (leaves.size() == 1) return leaves[0];
  std::size_t split = 1;
  while (split * 2 < leaves.size()) split *= 2;
  const auto at = leaves.begin() + static_cast<std::ptrdiff_t>(split);
  return hash("\x01" + raw(plain_root({leaves.begin(), at})) + raw(plain_root({at, leaves.end()})));
}

struct Model {
  test::TempFolder folder;
  std::string path = folder.path("m.gguf"), bytes;
  Manifest manifest;
  Model() {
    test::write_weights(path, TensorType::F16);
    bytes = test::read_whole(path);
    manifest = build_manifest(format::open_model(path), 2, {});
  }
  ManifestCheck check(const std::string& changed) const {
    return check_manifest(manifest, {folder.write("changed", changed)}, 2, {});
  }
};

TEST(Manifest, HashesAreThoseOfTheBytes) {
  const Model model;
  ASSERT_EQ(model.manifest.files.size(), 1U);
  const ManifestFile& file = model.manifest.files[0];
  EXPECT_EQ(file.name, "m.gguf");
  EXPECT_EQ(to_hex(file.sha256), sha256(as_bytes(model.bytes)));
  ASSERT_EQ(file.chunks.size(), 2U) << "1.5 MiB";
  EXPECT_EQ(file.chunks[0], hash(std::string(1, '\0') + model.bytes.substr(0, 1 << 20)));
  EXPECT_EQ(file.chunks[1], hash(std::string(1, '\0') + model.bytes.substr(1 << 20)));
  EXPECT_EQ(file.merkle_root, plain_root(file.chunks));
  const format::ModelFile opened = format::open_model(model.path);
  ASSERT_EQ(model.manifest.tensors.size(), opened.tensors.size());
  for (std::size_t i = 0; i < opened.tensors.size(); ++i)
    EXPECT_EQ(model.manifest.tensors[i].sha256,
              hash(model.bytes.substr(opened.tensors[i].offset, opened.tensors[i].size_bytes)));
}

TEST(Manifest, TheTreeIsThatOfRfc6962ForAnyNumberOfLeaves) {
  std::vector<Sha256Digest> leaves;
  for (int n = 0; n < 70; ++n) {
    EXPECT_EQ(merkle_root(leaves), plain_root(leaves)) << n;
    leaves.push_back(hash(std::to_string(n)));
  }
}

TEST(Manifest, ThreadsDoNotChangeIt) {
  const Model model;
  const Manifest one = build_manifest(format::open_model(model.path), 1, {});
  EXPECT_EQ(one.files[0].sha256, model.manifest.files[0].sha256);
  EXPECT_EQ(one.files[0].chunks, model.manifest.files[0].chunks);
}

TEST(Manifest, AnIntactFileIsIntact) {
  const Model model;
  const ManifestCheck check = model.check(model.bytes);
  EXPECT_TRUE(check.intact());
  EXPECT_TRUE(check.tensors.empty());
}

TEST(Manifest, OneBitIsFoundInItsChunkAndTensor) {
  const Model model;
  const ManifestTensor& tensor = model.manifest.tensors[5];
  std::string changed = model.bytes;
  changed[tensor.offset + 77] = static_cast<char>(changed[tensor.offset + 77] ^ 1);
  const ManifestCheck check = model.check(changed);
  ASSERT_EQ(check.ranges.size(), 1U);
  EXPECT_EQ(check.ranges[0].offset, (tensor.offset + 77) / kManifestChunkBytes * kManifestChunkBytes);
  EXPECT_FALSE(check.ranges[0].missing);
  std::size_t n_damaged = 0;
  for (const TensorCheck& t : check.tensors) {
    EXPECT_EQ(t.damaged, t.index == 5) << "neighbours in the same chunk are intact";
    n_damaged += t.damaged ? 1 : 0;
  }
  EXPECT_EQ(n_damaged, 1U);
  EXPECT_GT(check.tensors.size(), 1U);
}

TEST(Manifest, ACutOrGrownFileIsNotIntact) {
  const Model model;
  const ManifestCheck cut = model.check(model.bytes.substr(0, (1 << 20) + 5));
  ASSERT_EQ(cut.ranges.size(), 1U);
  EXPECT_TRUE(cut.ranges[0].missing);
  EXPECT_EQ(cut.ranges[0].offset, 1U << 20);
  EXPECT_EQ(cut.ranges[0].size_bytes, model.bytes.size() - (1 << 20));
  const ManifestCheck grown = model.check(model.bytes + "extra");
  EXPECT_FALSE(grown.intact());
  EXPECT_EQ(grown.files[0].extra_bytes, 5U);
  EXPECT_TRUE(grown.ranges.empty());
  const ManifestCheck empty = model.check("");
  ASSERT_EQ(empty.ranges.size(), 1U);
  EXPECT_EQ(empty.ranges[0].size_bytes, model.bytes.size());
}

TEST(Manifest, ADamagedModelGetsNone) {
  const Model model;
  const std::string cut = model.folder.write("cut.gguf", model.bytes.substr(0, model.bytes.size() / 2));
  EXPECT_THROW(static_cast<void>(build_manifest(format::open_model(cut), 1, {})), Error);
}

TEST(Sha256Hex, IsReadStrictly) {
  const Sha256Digest digest = hash("abc");
  EXPECT_EQ(parse_sha256(to_hex(digest)), digest);
  EXPECT_FALSE(parse_sha256(to_hex(digest).substr(1)));
  std::string upper = to_hex(digest);
  upper[3] = 'G';
  EXPECT_FALSE(parse_sha256(upper));
}

}  // namespace
}  // namespace apr::inspect
