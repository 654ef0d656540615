"""A shop that keeps card numbers and addresses as tokens, and writes down what it was promised."""

import time


class Shop:
    def __init__(self, here, elsewhere, screen):
        self._here, self._elsewhere, self._screen = here, elsewhere, screen
        self._orders = 0
        # What was acknowledged.
        self._values, self._metadata, self._deleted, self._revoked = {}, {}, [], []
        self._known = self._take("a customer that is known here")
        self._here.ask("/v1/detokenize", {"token": self._known})
        self._grant("regular", self._known)
        self._verify("regular", self._known)

    def phase(self, name, rounds, pause):
        self._screen.heading(name)
        strangers = self._strangers
        explained = set()
        for number in range(rounds):
            self._screen.outcomes([self._run(explained, *step) for step in self._steps(strangers, number)])
            time.sleep(pause)
        self._screen.note(f"{self._here.pending()} writes wait in the journal")

    @property
    def _strangers(self):
        """Values that another sidecar keeps, and this one has never seen."""
        answer = self._elsewhere.ask("/v1/tokenize", {"value": "a customer of another shop"})
        self._values[answer.body["token"]] = "a customer of another shop"
        return answer.body["token"]

    def _steps(self, stranger, number):
        return [
            ("order", self._order),
            ("ship to a known customer", lambda: self._reveal(self._known)),
            ("ship the last order", lambda: self._reveal(next(reversed(self._values)))),
            ("ship to a stranger", lambda: self._reveal(stranger)),
            ("note", lambda: self._note(self._known, number)),
            ("let a courier see", lambda: self._grant(f"courier {self._orders}", self._known)),
            ("is the regular let in", lambda: self._verify("regular", self._known)),
            ("fire a courier", lambda: self._fire(f"courier {self._orders}")),
            ("forget an order", self._forget),
        ]

    def _run(self, explained, name, step):
        answer = step()
        if answer.status == 200 and "error" not in (answer.body.get("items") or [{}])[0]:
            item = (answer.body.get("items") or [answer.body])[0]
            words = item.get("durability") or ("ok" if not (answer.degraded or item.get("degraded")) else "from memory")
            kind = {"stored": "ok", "journaled": "journaled", "ok": "ok"}.get(words, "degraded")
            return name, kind, words
        problem = answer.body if answer.status != 200 else answer.item()["error"]
        if problem["code"] not in explained:
            explained.add(problem["code"])
            self._screen.note(f"{problem['code']}: {problem['detail']}")
        return name, "refused", problem["code"]

    def _take(self, value):
        answer = self._here.ask("/v1/tokenize", {"value": value})
        self._values[answer.body["token"]] = value
        return answer.body["token"]

    def _order(self):
        self._orders += 1
        value = f"card 4000 0000 0000 {self._orders:04}"
        answer = self._here.ask("/v1/tokenize", {"value": value})
        if answer.status == 200:
            self._values[answer.body["token"]] = value
        return answer

    def _reveal(self, token):
        answer = self._here.ask("/v1/detokenize", {"token": token})
        if answer.status == 200 and answer.body["value"] != self._values[token]:
            raise SystemExit("dev/drill: a token opened to another value")
        return answer

    def _note(self, token, number):
        metadata = {"note": f"{self._orders}/{number}"}
        answer = self._here.ask("/v1/metadata/set", {"token": token, "metadata": metadata})
        if answer.status == 200:
            self._metadata[token] = metadata
        return answer

    def _grant(self, session, token):
        return self._here.ask("/v1/grants/create", {"session": session, "tokens": [token], "expires_in": "12h"})

    def _verify(self, session, token):
        return self._here.ask("/v1/grants/verify", {"session": session, "tokens": [token]})

    def _fire(self, session):
        answer = self._here.ask("/v1/grants/revoke", {"session": session})
        if answer.status == 200:
            self._revoked.append(session)
        return answer

    def _forget(self):
        token = next(token for token, value in reversed(self._values.items()) if value.startswith("card"))
        answer = self._here.ask("/v1/delete", {"tokens": [token]})
        if answer.status == 200 and "error" not in answer.item():
            self._deleted.append(token)
            del self._values[token]
            self._take_again()
        return answer

    def _take_again(self):
        """So that there is something to ship."""
        answer = self._order()
        if answer.status != 200:
            self._screen.note("an order could not be taken")

    def drained(self):
        began = time.monotonic()
        self._here.drain()
        self._screen.heading("everything is back")
        self._screen.note(f"the journal is drained after {time.monotonic() - began:.1f} s")

    def audit(self, auditor):
        """Whether a sidecar that has seen nothing finds all that was acknowledged."""
        self._screen.heading("what another sidecar, which has seen nothing, finds in storage")
        opened = sum(auditor.ask("/v1/detokenize", {"token": it}).body.get("value") == value for it, value in self._values.items())
        noted = sum(
            auditor.ask("/v1/metadata/get", {"token": it}).body.get("metadata") == metadata
            for it, metadata in self._metadata.items()
        )
        gone = sum(auditor.ask("/v1/detokenize", {"token": it}).code() == "not_found" for it in self._deleted)
        refused = sum(
            auditor.ask("/v1/grants/verify", {"session": it, "tokens": [self._known]}).item().get("valid") is False
            for it in self._revoked
        )
        found = [
            ("acknowledged values open", opened, len(self._values)),
            ("acknowledged notes are there", noted, len(self._metadata)),
            ("deleted orders are gone", gone, len(self._deleted)),
            ("fired couriers are refused", refused, len(self._revoked)),
        ]
        for words, count, of in found:
            self._screen.note(f"{count} of {of} {words}")
        kept = all(count == of for _, count, of in found)
        self._screen.note("nothing was lost" if kept else "SOMETHING WAS LOST")
        return kept
