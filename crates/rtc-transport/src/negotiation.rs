//! Offer, answer and candidates, from either end and also from both at once.
//!
//! The first offer is applied as it is made, since candidates are gathered for it. A later one is only written down and
//! applied together with its answer: the path goes on as it is until then, whatever becomes of the offer. When both
//! ends make an offer at once the polite end drops its own and answers the other's, and the impolite one ignores what
//! comes in the way of its own (W3C WebRTC section 10.7, "perfect negotiation").

use rtc::peer_connection::configuration::RTCOfferOptions;
use webrtc::peer_connection::{RTCIceCandidateInit, RTCSessionDescription};

use crate::candidate;
use crate::error::NegotiationError;
use crate::event::{Candidate, PathEvent};
use crate::path::MediaPath;
use crate::remote;

/// Candidates kept while there is no description yet; a machine has a handful.
const PARKED_LIMIT: usize = 64;

/// Which end gives way when both make an offer at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Politeness {
    /// Both ends tell from their certificates; needs both to be of this crate and to have this value.
    #[default]
    ByCertificate,
    /// This one: its offer is dropped and the other one's answered.
    Polite,
    /// The other one: what it offers meanwhile is ignored.
    Impolite,
}

/// Where the negotiation of a path stands.
#[derive(Default)]
pub(crate) struct Negotiation {
    /// Both descriptions of the generation in use; none before the first exchange is over.
    agreed: Option<Agreed>,
    offered: Option<Offered>,
    /// An answer that was given and is applied with the next offer, because applying it begins a restart.
    held_answer: Option<RTCSessionDescription>,
    /// The engine has prepared a restart of this end, or begun it, that is not agreed on: it would carry it out with
    /// whatever description of this end comes next.
    is_prepared: bool,
    parked: Vec<Candidate>,
}

/// What both ends have agreed on last.
struct Agreed {
    local: Ice,
    remote: Ice,
    /// The other end's description.
    remote_sdp: String,
    remote_is_offer: bool,
}

/// An offer of this end that waits for its answer.
struct Offered {
    offer: RTCSessionDescription,
    is_applied: bool,
}

/// The ICE credentials of a description, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ice {
    fragment: String,
    password: String,
    fingerprint: String,
}

impl Ice {
    fn of(sdp: &str) -> Result<Ice, NegotiationError> {
        let part = |name: &str| {
            let value = attribute(sdp, name).filter(|value| !value.is_empty());
            value.map(str::to_owned).ok_or_else(|| NegotiationError::Rejected(format!("no {name} in it")))
        };
        Ok(Ice {
            fragment: part("ice-ufrag")?,
            password: part("ice-pwd")?,
            fingerprint: part("fingerprint")?.to_ascii_uppercase(),
        })
    }

    fn in_place_of(&self, other: &Ice, sdp: &str) -> String {
        let named = |ice: &Ice| (format!("a=ice-ufrag:{}", ice.fragment), format!("a=ice-pwd:{}", ice.password));
        let ((old_fragment, old_password), (fragment, password)) = (named(other), named(self));
        sdp.replace(&old_fragment, &fragment).replace(&old_password, &password)
    }

    fn is_generation_of(&self, other: &Ice) -> bool {
        self.fragment == other.fragment && self.password == other.password
    }
}

/// The value of the first attribute of this name.
fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

impl Politeness {
    fn gives_way(self, own: &str, others: &str) -> bool {
        match self {
            Politeness::Polite => true,
            Politeness::Impolite => false,
            Politeness::ByCertificate => {
                let fingerprint = |sdp| attribute(sdp, "fingerprint").map(str::to_ascii_uppercase);
                fingerprint(own) < fingerprint(others)
            }
        }
    }
}

impl MediaPath {
    /// Makes an offer; whoever makes the first is the caller and decides which pair is used (ICE controlling).
    ///
    /// Local candidates follow as events. A later offer leaves the path as it is until it is answered; one that was not
    /// answered is replaced by the next. Not cancel safe: a call dropped half-way leaves an offer the other end never
    /// saw, which the next `create_offer` replaces.
    pub async fn create_offer(&self) -> Result<String, NegotiationError> {
        let mut negotiation = self.begin().await?;
        self.offer(&mut negotiation, None).await
    }

    /// Starts over with finding a way, over new sockets at the addresses there are now, at both ends; the encryption
    /// and the voice go on.
    ///
    /// Gives a new offer, to be answered like the first. Either end may ask, also both at once. Voice goes on over the
    /// old way, if there is one, until the other end takes the offer and this one the answer; from there it takes about
    /// two round trips until both ends have found a pair.
    pub async fn restart_ice(&self) -> Result<String, NegotiationError> {
        let mut negotiation = self.begin().await?;
        self.offer(&mut negotiation, Some(RTCOfferOptions { ice_restart: true })).await
    }

    /// Takes the other end's offer and makes the answer.
    ///
    /// Where an offer of this end waits for its answer, [`PathConfig::politeness`](crate::PathConfig::politeness)
    /// decides: the polite end drops its own and answers, and says [`PathEvent::NegotiationNeeded`] if what it wanted
    /// is not done by the other's; the impolite one gives [`NegotiationError::OfferCollision`] and goes on waiting.
    /// Needs the descriptions of the other end in the order in which they were made. A refused offer leaves a path that
    /// is in use as it was.
    pub async fn accept_offer(&self, sdp: &str) -> Result<String, NegotiationError> {
        let mut negotiation = self.begin().await?;
        let (sdp, told) = remote::split(&candidate::without_unusable(sdp));
        let offer = RTCSessionDescription::offer(sdp.clone()).map_err(rejected)?;
        let remote = Ice::of(&sdp)?;
        let restarts = negotiation.fits(&remote)?;
        let mut dropped = None;
        if let Some(offered) = negotiation.offered.take() {
            if !self.inner.politeness.gives_way(&offered.offer.sdp, &sdp) {
                negotiation.offered = Some(offered);
                return Err(NegotiationError::OfferCollision);
            }
            tracing::debug!("gives way to the other end's offer");
            if offered.is_applied
                && let Ok(nothing) = RTCSessionDescription::rollback(None)
                && let Err(error) = self.inner.connection.set_local_description(nothing).await
            {
                tracing::debug!(%error, "no offer to take back");
            }
            dropped = Some(offered);
        }
        let wanted_restart = dropped.as_ref().map(|dropped| negotiation.restarts(&dropped.offer.sdp));
        if negotiation.held_answer.take().is_some() {
            // The offer before this one is answered, but not by the engine.
            self.forget_remote_offer().await;
        }
        let answer = match self.answer(offer, &sdp).await {
            Ok(answer) => answer,
            Err(error) => {
                negotiation.offered = dropped.filter(|dropped| !dropped.is_applied);
                self.as_before(&negotiation).await;
                return Err(error);
            }
        };
        let is_prepared = negotiation.is_prepared;
        let is_done = wanted_restart.is_none_or(|wanted| wanted && restarts);
        if negotiation.agreed.is_some() && !is_done {
            self.inner.shared.events.push(PathEvent::NegotiationNeeded);
        }
        if let Some(agreed) = negotiation.agreed.as_mut().filter(|_| is_prepared && !restarts) {
            // The other end has not heard of it: an answer to what does not restart has the credentials there were.
            let said = agreed.local.in_place_of(&Ice::of(&answer.sdp)?, &answer.sdp);
            agreed.remote_sdp = sdp;
            agreed.remote_is_offer = true;
            negotiation.held_answer = Some(answer);
            return Ok(self.inner.said(&said));
        }
        let said = self.inner.said(&answer.sdp);
        let local = Ice::of(&answer.sdp)?;
        self.inner.shared.set_local_fragment(&local.fragment);
        self.inner.seam.on_local_description(&answer.sdp);
        self.inner.connection.set_local_description(answer).await.map_err(unavailable)?;
        negotiation.agree(Agreed { local, remote, remote_sdp: sdp, remote_is_offer: true });
        self.described(&mut negotiation, told).await;
        Ok(said)
    }

    /// Takes the answer to this end's offer.
    ///
    /// One that is refused leaves a path that is in use as it was, and the offer waiting.
    pub async fn accept_answer(&self, sdp: &str) -> Result<(), NegotiationError> {
        let mut negotiation = self.begin().await?;
        let Some(offered) = &negotiation.offered else {
            return Err(NegotiationError::Rejected("no offer waits for an answer".to_owned()));
        };
        let (offer, is_applied) = (offered.offer.clone(), offered.is_applied);
        let (sdp, told) = remote::split(&candidate::without_unusable(sdp));
        let answer = RTCSessionDescription::answer(sdp.clone()).map_err(rejected)?;
        let remote = Ice::of(&sdp)?;
        let restarts = negotiation.restarts(&offer.sdp);
        if negotiation.fits(&remote)? != restarts {
            let why = if restarts { "it does not restart ICE" } else { "it restarts ICE, which was not offered" };
            return Err(NegotiationError::Rejected(why.to_owned()));
        }
        let local = Ice::of(&offer.sdp)?;
        if !is_applied {
            self.apply(offer, restarts).await?;
            if let Some(offered) = &mut negotiation.offered {
                offered.is_applied = true;
            }
        }
        self.inner.seam.on_remote_description(&sdp, false);
        self.inner.connection.set_remote_description(answer).await.map_err(rejected)?;
        negotiation.offered = None;
        negotiation.agree(Agreed { local, remote, remote_sdp: sdp, remote_is_offer: false });
        self.described(&mut negotiation, told).await;
        Ok(())
    }

    /// Takes a candidate of the other end, before or after its description.
    ///
    /// What this end cannot use (another transport than UDP, an unknown type, a name in place of an address) is left
    /// out and logged, as RFC 8839 wants it.
    pub async fn add_candidate(&self, mut candidate: Candidate) -> Result<(), NegotiationError> {
        let mut negotiation = self.begin().await?;
        if candidate.candidate.is_empty() {
            return Ok(());
        }
        let Some(usable) = candidate::usable(&candidate.candidate)? else { return Ok(()) };
        candidate.candidate = format!("candidate:{}", usable.line);
        candidate.username_fragment = candidate.username_fragment.filter(|fragment| !fragment.is_empty());
        candidate.username_fragment = candidate.username_fragment.or(usable.fragment);
        if negotiation.is_of_this_generation(&candidate) {
            return self.add_now(candidate).await;
        }
        if negotiation.parked.len() == PARKED_LIMIT {
            return Err(NegotiationError::TooManyCandidates);
        }
        negotiation.parked.push(candidate);
        Ok(())
    }

    async fn offer(
        &self,
        negotiation: &mut Negotiation,
        options: Option<RTCOfferOptions>,
    ) -> Result<String, NegotiationError> {
        let mut is_applied = negotiation.agreed.is_none();
        if let Some(answer) = negotiation.held_answer.take() {
            // It begins the restart that the offer tells of.
            self.apply(answer, true).await?;
            is_applied = true;
        }
        let options = options.filter(|_| negotiation.agreed.is_none() || !is_applied);
        let offer = self.inner.connection.create_offer(options).await.map_err(unavailable)?;
        let said = self.inner.seam.announced(&self.inner.said(&offer.sdp));
        if is_applied {
            let is_first = negotiation.agreed.is_none();
            self.apply(offer.clone(), is_first).await?;
        }
        negotiation.is_prepared |= negotiation.agreed.is_some() && negotiation.restarts(&offer.sdp);
        negotiation.offered = Some(Offered { offer, is_applied });
        Ok(said)
    }

    /// Has the engine take a description of this end.
    async fn apply(&self, local: RTCSessionDescription, is_new_generation: bool) -> Result<(), NegotiationError> {
        if is_new_generation {
            self.inner.seam.on_new_generation();
            self.inner.shared.set_local_fragment(&Ice::of(&local.sdp)?.fragment);
        }
        self.inner.seam.on_local_description(&local.sdp);
        self.inner.connection.set_local_description(local).await.map_err(unavailable)
    }

    async fn answer(&self, offer: RTCSessionDescription, sdp: &str) -> Result<RTCSessionDescription, NegotiationError> {
        self.inner.seam.on_remote_description(sdp, true);
        self.inner.connection.set_remote_description(offer).await.map_err(rejected)?;
        self.inner.connection.create_answer(None).await.map_err(unavailable)
    }

    /// Forgets an offer of the other end that the engine has refused.
    async fn as_before(&self, negotiation: &Negotiation) {
        self.forget_remote_offer().await;
        if let Some(agreed) = &negotiation.agreed {
            self.inner.seam.on_remote_description(&agreed.remote_sdp, agreed.remote_is_offer);
            self.inner.seam.on_described();
            self.inner.changed.notify_one();
        }
    }

    async fn forget_remote_offer(&self) {
        if let Ok(nothing) = RTCSessionDescription::rollback(None)
            && let Err(error) = self.inner.connection.set_remote_description(nothing).await
        {
            tracing::debug!(%error, "no offer of the other end to forget");
        }
    }

    /// Both descriptions are there: adds the candidates that came with them and those that were parked, the promising
    /// ones first, and learns what was agreed.
    async fn described(&self, negotiation: &mut Negotiation, told: Vec<String>) {
        let told = told.into_iter().map(|candidate| Candidate { candidate, ..Candidate::default() });
        let mut candidates: Vec<Candidate> = told.chain(std::mem::take(&mut negotiation.parked)).collect();
        self.inner.seam.sort_candidates(&mut candidates);
        for candidate in candidates {
            if !negotiation.is_of_this_generation(&candidate) {
                continue;
            }
            if let Err(error) = self.add_now(candidate).await {
                tracing::warn!(%error, "a candidate that came early");
            }
        }
        self.inner.on_described().await;
    }

    async fn add_now(&self, candidate: Candidate) -> Result<(), NegotiationError> {
        let line = candidate.candidate.clone();
        if !self.inner.seam.admits_candidate(&line) {
            tracing::debug!("a candidate that is known, or one more than can be tried");
            return Ok(());
        }
        let init = RTCIceCandidateInit {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_mline_index: candidate.sdp_mline_index,
            username_fragment: candidate.username_fragment,
            url: None,
        };
        self.inner.connection.add_ice_candidate(init).await.map_err(rejected)?;
        self.inner.seam.on_remote_candidate(&line);
        Ok(())
    }
}

impl Negotiation {
    fn agree(&mut self, agreed: Agreed) {
        self.agreed = Some(agreed);
        self.is_prepared = false;
    }

    /// Whether an offer of this end begins a new generation.
    fn restarts(&self, offer: &str) -> bool {
        let Some(agreed) = &self.agreed else { return true };
        !Ice::of(offer).is_ok_and(|ice| ice.is_generation_of(&agreed.local))
    }

    /// Whether a description of the other end begins a new generation; refuses one that is of another path, with which
    /// the encryption could not go on.
    fn fits(&self, remote: &Ice) -> Result<bool, NegotiationError> {
        let Some(agreed) = &self.agreed else { return Ok(true) };
        if agreed.remote.fingerprint != remote.fingerprint {
            return Err(NegotiationError::OtherCertificate);
        }
        Ok(!remote.is_generation_of(&agreed.remote))
    }

    /// Whether a candidate belongs to what is agreed; otherwise it has overtaken its description. One that does not say
    /// is taken for the answer that is waited for.
    fn is_of_this_generation(&self, candidate: &Candidate) -> bool {
        let Some(agreed) = &self.agreed else { return false };
        match &candidate.username_fragment {
            Some(fragment) => *fragment == agreed.remote.fragment,
            None => self.offered.is_none(),
        }
    }
}

fn rejected(error: impl std::fmt::Display) -> NegotiationError {
    NegotiationError::Rejected(error.to_string())
}

fn unavailable(error: impl std::fmt::Display) -> NegotiationError {
    NegotiationError::Unavailable(error.to_string())
}
