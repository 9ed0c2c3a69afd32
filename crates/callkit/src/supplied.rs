//! Whom the app has set for the kit to ask.

use std::sync::{Arc, Mutex};

use crate::dispatch::lock;
use crate::handlers::{AccessTokenHandler, RtcTokenHandler, UserMapperHandler};

/// What the app set, shared with its handles. The locks are held only to look up a handler.
#[derive(Default)]
pub(crate) struct Supplied {
    access: Mutex<Option<Arc<dyn AccessTokenHandler>>>,
    token: Mutex<Option<Arc<dyn RtcTokenHandler>>>,
    mapper: Mutex<Option<Arc<dyn UserMapperHandler>>>,
}

impl Supplied {
    pub(crate) fn set_access_handler(&self, handler: Arc<dyn AccessTokenHandler>) {
        // Dropped when the lock is free again: it may call back.
        let before = lock(&self.access).replace(handler);
        drop(before);
    }

    pub(crate) fn set_token_handler(&self, handler: Arc<dyn RtcTokenHandler>) {
        let before = lock(&self.token).replace(handler);
        drop(before);
    }

    pub(crate) fn set_mapper_handler(&self, handler: Arc<dyn UserMapperHandler>) {
        let before = lock(&self.mapper).replace(handler);
        drop(before);
    }

    pub(crate) fn access_handler(&self) -> Option<Arc<dyn AccessTokenHandler>> {
        lock(&self.access).clone()
    }

    pub(crate) fn token_handler(&self) -> Option<Arc<dyn RtcTokenHandler>> {
        lock(&self.token).clone()
    }

    pub(crate) fn mapper_handler(&self) -> Option<Arc<dyn UserMapperHandler>> {
        lock(&self.mapper).clone()
    }
}
