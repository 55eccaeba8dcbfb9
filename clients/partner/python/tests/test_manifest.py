import hashlib
import unittest

from velvet_partner.manifest import id_of, read_manifest


class Manifest(unittest.TestCase):
    def test_it_holds_each_operation_under_the_hash_of_its_text(self) -> None:
        manifest = read_manifest()
        said = [f"{operation['type']} {operation['name']}" for operation in manifest["operations"]]
        self.assertEqual(said, ["subscription MatchEvents", "query Matches", "query Me"])
        for operation in manifest["operations"]:
            self.assertEqual(operation["id"], hashlib.sha256(operation["body"].encode()).hexdigest())
            self.assertEqual(id_of(manifest, operation["name"]), operation["id"])
