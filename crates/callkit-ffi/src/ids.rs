//! Ids: texts and numbers in other languages, checked as they come in.

use std::net::IpAddr;

use callkit::{AppId, CallId, ChannelId, DeviceId, Uid, UserId};

use crate::error::{CallError, SignInError};

uniffi::custom_type!(
    /// A user of the app, as the app's own backend names it.
    UserId,
    String,
    { remote, try_lift: |text| Ok(UserId::new(text)?), lower: |id| id.into() }
);

uniffi::custom_type!(
    /// A device among the devices of a user.
    DeviceId,
    String,
    { remote, try_lift: |text| Ok(DeviceId::new(text)?), lower: |id| id.into() }
);

uniffi::custom_type!(
    /// The app, as the server's configuration names it.
    AppId,
    String,
    { remote, try_lift: |text| Ok(AppId::new(text)?), lower: |id| id.into() }
);

uniffi::custom_type!(
    /// Where the media of a call meets.
    ChannelId,
    String,
    { remote, try_lift: |text| Ok(ChannelId::new(text)?), lower: |id| id.into() }
);

uniffi::custom_type!(
    /// One call, from invite to end: 32 hexadecimal digits.
    CallId,
    String,
    { remote, try_lift: |text| text.parse().map_err(|error| CallError::unfit("call_id", error).into()), lower: |id| id.into() }
);

uniffi::custom_type!(
    /// A member of a channel: the number under which media is sent there; never zero. Not a user id.
    Uid,
    u32,
    { remote, try_lift: |number| Ok(Uid::new(number)?), lower: |uid| uid.get() }
);

uniffi::custom_type!(
    /// An address of this machine, IPv4 or IPv6.
    IpAddr,
    String,
    { remote, try_lift: |text| text.parse().map_err(|error| SignInError::unfit("interfaces", error).into()), lower: |address| address.to_string() }
);
