import unittest

from velvet_partner.signing import sign, signed, signing_secret

from .fake import KEY


class Signing(unittest.TestCase):
    def test_the_known_answer_of_the_documentation(self) -> None:
        self.assertEqual(signing_secret(KEY), "297b783e240afdfce6683b464ebf3e853861b740e38eded4963571370ab72d38")
        signature = sign(KEY, "POST", "/graphql?a=b", b'{"documentId":"me"}', 1_790_000_000, "0123456789abcdef")
        self.assertEqual(signature, "18b59975eb62b977716a18b7419b37db6ce1c87ae0b2fde13471ec58fb9a8fd9")

    def test_each_signature_is_another_and_what_it_is_for_changes_it(self) -> None:
        one, other = signed(KEY, "GET", "/a", b""), signed(KEY, "GET", "/a", b"")
        self.assertNotEqual(one.nonce, other.nonce)
        self.assertRegex(one.nonce, "^[A-Za-z0-9_-]{16,64}$")
        self.assertEqual(one.signature, sign(KEY, "GET", "/a", b"", one.timestamp, one.nonce))
        for method, path, body in [("POST", "/a", b""), ("GET", "/b", b""), ("GET", "/a", b"x")]:
            self.assertNotEqual(one.signature, sign(KEY, method, path, body, one.timestamp, one.nonce))
