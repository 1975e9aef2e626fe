"""The planted bugs: one line each, and the invariant that must catch it. In votes, logs, leases, grants, incarnations, tokens.

`python -m sims mutants` proves each on its kept seed; `--search 500` looks for another one when a core has changed. A line that is not
there any more fails a test: plant the bug where the thought has moved to.
"""

from __future__ import annotations

from collections.abc import Iterator

from .planted import Planted
from .planted_early import EARLY


def _raft() -> Iterator[Planted]:
    def bug(
        name: str, file: str, old: str, new: str, *invariants: str, seed: int = 0, profile: str = "mix", nodes: int = 5
    ) -> Planted:
        return Planted(f"raft-{name}", "raft", file, old, new, invariants, seed, profile, nodes)

    yield bug(
        "vote-not-written",
        "raft_promises.py",
        "self._records.append(record)",
        "pass",
        "C4",
        "R6",
        profile="calm",
        seed=0,
    )
    yield bug(
        "reply-before-fsync",
        "raft.py",
        "out.send_after.append(Send(src, VoteReply(self._promises.term, is_granted)))",
        "out.send.append(Send(src, VoteReply(self._promises.term, is_granted)))",
        "C4",
        "R6",
        profile="calm",
        seed=0,
    )
    yield bug(
        "second-vote-in-a-term",
        "raft_ballot.py",
        'return self._promises.vote in ("", src) and self._may_support(message)',
        "return self._may_support(message)",
        "R6",
        profile="cuts",
        seed=2,
    )
    yield bug(
        "doubled-vote-counts-twice",
        "raft.py",
        "(candidacy.grants if is_granted else candidacy.refusals).add(voter)",
        '(candidacy.grants if is_granted else candidacy.refusals).add(f"{voter} {len(candidacy.grants)}")',
        "R1",
        "R10",
        profile="lossy",
        seed=1,
    )
    yield bug(
        "pre-vote-without-log-check",
        "raft_ballot.py",
        "return message.term > self._promises.term and self._may_support(message)",
        "return message.term > self._promises.term and self.may_vote(message.term)",
        "R4",
        profile="chaos",
        seed=0,
    )
    yield bug(
        "vote-without-log-check",
        "raft_ballot.py",
        "return self.may_vote(message.term) and self._promises.log.is_covered_by(message.last_index, message.last_term)",
        "return self.may_vote(message.term)",
        "R4",
        profile="chaos",
        seed=0,
    )
    yield bug(
        "no-stickiness",
        "raft.py",
        'return self._leader not in ("", src) and now < self._heard_at + self._timeout',
        "return False",
        "R10",
        profile="omission",
        seed=0,
    )
    yield bug(
        "no-pre-vote",
        "raft.py",
        "candidacy = self._candidacy = Candidacy(now, term, 0)",
        "return self._campaign(now, out, is_transfer=False)",
        "R10",
        profile="calm",
        seed=0,
    )
    yield bug(
        "commits-with-too-few",
        "raft_leading.py",
        "index = matches[self._quorum - 1]",
        "index = matches[self._quorum - 2]",
        "R7",
        profile="chaos",
        seed=0,
    )
    yield bug(
        "no-no-op",
        "raft.py",
        "self._promises.append()",
        "pass",
        "RL3",
        profile="calm",
        seed=0,
    )
    yield bug(
        "conflict-not-seen",
        "raft_log.py",
        "if not self.has(entry.index, entry.term):",
        "if entry.index > self.last_index:",
        "R3",
        profile="chaos",
        seed=198,
    )
    yield bug(
        "cuts-without-conflict",
        "raft_promises.py",
        "new = entries[log.first_new(entries) :]",
        "new = entries[:1]",
        "C4",
        "R3",
        "R4",
        profile="lossy",
        seed=0,
    )
    yield bug(
        "own-entry-counts-before-fsync",
        "raft_leading.py",
        "self._own_match = 0",
        "self._own_match = log.last_index + 1",
        "R7",
        profile="disks",
        seed=13,
    )
    yield bug(
        "late-answer-renews-lease",
        "raft_leading.py",
        "self.lease = self._sent_at[number - self._lease_round - 1]",
        "self.lease = self._sent_at[-1]",
        "RL2",
        profile="chaos",
        nodes=3,
        seed=16,
    )
    yield bug(
        "lease-by-too-few",
        "raft_leading.py",
        "if follower.is_voter and number > self._lease_round and 1 + self._answered(number) >= self._quorum:",
        "if follower.is_voter and number > self._lease_round and 2 + self._answered(number) >= self._quorum:",
        "RL2",
        profile="cuts",
        seed=0,
    )
    yield bug(
        "no-check-quorum",
        "raft_leading.py",
        "self.lease = self._sent_at[number - self._lease_round - 1]",
        "self.lease = self._sent_at[number - self._lease_round - 1] + (1 << 60)",
        "RL2",
        profile="cuts",
        seed=0,
    )
    yield bug(
        "emptied-voter-votes",
        "raft.py",
        "elif self._voters.has_me and not had_any:",
        "elif not self._voters.has_me:",
        "R6",
        "R4",
        profile="disks",
        seed=1,
    )
    yield bug(
        "duty-without-token",
        "raft.py",
        "is_in_office = self._leading is not None and self._office.is_held",
        "is_in_office = self._leading is not None",
        "C2b",
        profile="calm",
        seed=0,
    )


def _bully() -> Iterator[Planted]:
    def bug(
        name: str, file: str, old: str, new: str, *invariants: str, seed: int = 0, profile: str = "mix", nodes: int = 5
    ) -> Planted:
        return Planted(f"bully-{name}", "bully", file, old, new, invariants, seed, profile, nodes)

    yield bug(
        "grant-before-fsync",
        "bully.py",
        "out.send_after.append(Send(src, Grant(epoch, is_granted, self._ballot.promised)))",
        "out.send.append(Send(src, Grant(epoch, is_granted, self._ballot.promised)))",
        "C4",
        profile="calm",
        seed=0,
    )
    yield bug(
        "promise-not-written",
        "ballot.py",
        "self._records.append(Promise(epoch, to))",
        "pass",
        "C4",
        "B1",
        profile="calm",
        seed=0,
    )
    yield bug(
        "lower-coordinator-accepted",
        "reign.py",
        "if epoch < self.epoch:",
        "if epoch > self.epoch + 1000:",
        "C3",
        profile="chaos",
        seed=3,
    )
    yield bug(
        "without-a-quorum",
        "campaign.py",
        "return Outcome.WON if len(self._granted) >= self.quorum else Outcome.NOTHING",
        "return Outcome.WON if len(self._granted) >= 2 else Outcome.NOTHING",
        "B1",
        profile="cuts",
        seed=0,
    )
    yield bug(
        "two-grants-in-an-epoch",
        "judge.py",
        "if (claim.epoch, src) == (ballot.promised, ballot.promised_to):",
        "if claim.epoch == ballot.promised:",
        "B2",
        "C4",
        profile="cuts",
        seed=0,
    )
    yield bug(
        "claim-before-fsync",
        "campaign.py",
        "out.send_after += [Send(peer, claim) for peer in self._others if peer not in self._granted]",
        "out.send += [Send(peer, claim) for peer in self._others if peer not in self._granted]",
        "C4",
        profile="disks",
        seed=0,
    )
    yield bug(
        "late-answer-renews-lease",
        "lease.py",
        "self._acked[voter] = sent_at",
        "self._acked[voter] = self._sent[self._round]",
        "B3",
        profile="chaos",
        nodes=3,
        seed=33,
    )
    yield bug(
        "lease-by-one-answer",
        "lease.py",
        "nth = sorted(self._acked.values(), reverse=True)[self._others - 1]",
        "nth = max(self._acked.values())",
        "B3",
        profile="cuts",
        seed=0,
    )
    yield bug(
        "leads-without-quorum",
        "lease.py",
        "end = self._quorum_at + self._timeout",
        "end = self._quorum_at + 1000 * self._timeout",
        "B3",
        profile="cuts",
        seed=0,
    )
    yield bug(
        "no-hold-down-at-the-voters",
        "judge.py",
        "is_stable = now - reign.since >= config.timeout * (HOLD_DOWN - HOLD_DOWN_SLACK)",
        "is_stable = True",
        "B4",
        profile="lan",
        seed=6,
    )
    yield bug(
        "unfaithful",
        "judge.py",
        "return Verdict.FAITHFUL",
        "pass",
        "B4",
        profile="cuts",
        seed=1,
    )
    yield bug(
        "never-takes-over",
        "bully.py",
        'campaign.rest(max(now, reign.since + self._hold_down), "hold_down")',
        "pass",
        "BL1",
        profile="lan",
        seed=0,
    )
    yield bug(
        "emptied-voter-votes",
        "bully.py",
        "self._is_voter = is_voter and (len(records) > 0 or not self._others)",
        "self._is_voter = is_voter",
        "B2",
        "B1",
        profile="disks",
        nodes=3,
        seed=12,
    )
    yield bug(
        "emptied-voter-taught-by-one",
        "teaching.py",
        "if len(self._told) < self._needed():",
        "if not self._told:",
        "B2",
        "B1",
        profile="disks",
        nodes=3,
        seed=12,
    )
    yield bug(
        "emptied-voter-asks-no-witness",
        "teaching.py",
        "return max(highest, self._installed)",
        "return highest",
        "B1",
        profile="strays",
        nodes=2,
        seed=5237,
    )
    yield bug(
        "duty-without-token",
        "bully.py",
        "is_in_office = has_lease and self._office.is_held",
        "is_in_office = has_lease",
        "C2b",
        profile="calm",
        seed=0,
    )


def _gossip() -> Iterator[Planted]:
    def bug(
        name: str, file: str, old: str, new: str, *invariants: str, seed: int = 0, profile: str = "mix", nodes: int = 5
    ) -> Planted:
        return Planted(f"gossip-{name}", "gossip", file, old, new, invariants, seed, profile, nodes)

    yield bug(
        "incarnation-not-raised-by-dead",
        "membership/claims.py",
        "peer.incarnation, peer.accusation, peer.suspicion, peer.accused_at = rumour.incarnation, rumour, None, None",
        "peer.accusation, peer.suspicion, peer.accused_at = rumour, None, None",
        "G4",
        "G2",
        profile="chaos",
        seed=3,
    )
    yield bug(
        "refutes-in-the-same-incarnation",
        "membership/identity.py",
        "self.word = Alive(self._me, max(incarnation, self.word.incarnation + 1), priority)",
        "self.word = Alive(self._me, max(incarnation - 1, self.word.incarnation), priority)",
        "GL2",
        "G1",
        "GL1",
        profile="lan",
        seed=3,
    )
    yield bug(
        "never-refutes",
        "membership/claims.py",
        "if above > JUMP_MAX or above < 0 or (above == 0 and not is_accusation):",
        "if above > JUMP_MAX or above <= 0:",
        "GL1",
        "GL2",
        profile="lossy",
        seed=1,
    )
    yield bug(
        "dead-never-contacted",
        "membership/contacts.py",
        "name = next(iter(self._absent), None)",
        "name = None",
        "GL1",
        "GL2",
        profile="cuts",
        seed=0,
    )
    yield bug(
        "accuses-a-later-incarnation",
        "membership/claims.py",
        "self._hear_suspect(now, peer, Suspect(peer.name, peer.incarnation, self._me), out)",
        "self._hear_suspect(now, peer, Suspect(peer.name, peer.incarnation + 1, self._me), out)",
        "G1",
        profile="lossy",
        seed=0,
    )
    yield bug(
        "replayed-ack-acquits",
        "membership/claims.py",
        "if peer.suspicion is not None and seq > peer.suspicion.after:",
        "if peer.suspicion is not None:",
        "G4",
        profile="lossy",
        seed=1,
    )
    yield bug(
        "any-word-acquits",
        "membership/claims.py",
        "if incarnation > peer.incarnation:",
        "if incarnation >= peer.incarnation:",
        "G4",
        profile="lossy",
        seed=0,
    )
    yield bug(
        "incarnation-before-fsync",
        "swim.py",
        "if not self._identity.is_reserved:",
        "if not self._identity:",
        "C4",
        profile="calm",
        seed=0,
    )
    yield bug(
        "low-incarnation-after-restart",
        "membership/identity.py",
        "self.rise(self._asked, self.word.priority)",
        "self.rise(0, self.word.priority)",
        "G1",
        profile="lan",
        seed=0,
    )
    yield bug(
        "epoch-not-written-before-it-is-sought",
        "gossip.py",
        "self._sought = (epoch, self._heard.claim(epoch))",
        "self._sought = (epoch, self._heard.claim(epoch) - 1)",
        "C4",
        profile="disks",
        seed=6,
    )
    yield bug(
        "leads-without-a-quorum",
        "gossip.py",
        "is_quorate = self._roster.fit_count >= self._config.quorum",
        "is_quorate = self._roster.fit_count >= 1",
        "G5",
        profile="cuts",
        seed=0,
    )
    yield bug(
        "token-from-the-clock",
        "gossip.py",
        "epoch = max(self._office.floor, self._heard.highest) + 1",
        "epoch = self._next_try",
        "GL1",
        profile="calm",
        seed=0,
    )
    yield bug(
        "another-owner-in-the-office",
        "office.py",
        "if there.epoch > self.epoch or there.owner != self._config.owner:",
        "if there.epoch > self.epoch:",
        "C2b",
        "G5",
        profile="cuts",
        seed=1,
    )
    yield bug(
        "pretends-to-be-elected",
        "office.py",
        "elected = deed is Deed.INSTALL and self._is_elected",
        "elected = deed is Deed.INSTALL",
        "C1",
        profile="calm",
        seed=0,
    )


PLANTED = {bug.name: bug for bug in (*_raft(), *_bully(), *_gossip(), *EARLY)}
