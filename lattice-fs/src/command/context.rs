//! What a command runs in: the places, how to print, and the way to the router, opened when it is first needed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::error::Result;
use super::output::Output;
use crate::client::Client;
use crate::config::Config;
use crate::paths::Paths;

/// Cheap to clone; clones share the client.
#[derive(Debug, Clone)]
pub struct Context {
    pub paths: Arc<Paths>,
    pub out: Output,
    pub timeout: Option<Duration>,
    pub config: Arc<Config>,
    client: Arc<Mutex<Option<Arc<Client>>>>,
}

impl Context {
    pub fn new(paths: Paths, config: Config, out: Output, timeout: Option<Duration>) -> Self {
        Self { paths: Arc::new(paths), out, timeout, config: Arc::new(config), client: Arc::default() }
    }

    /// The same with another way to print.
    pub fn with_output(&self, out: Output, timeout: Option<Duration>) -> Self {
        Self { out, timeout, ..self.clone() }
    }

    /// The daemon, or the data directory in this process.
    pub async fn client(&self) -> Result<Arc<Client>> {
        let mut slot = self.client.lock().await;
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let client = Arc::new(Client::open(&self.paths, self.timeout).await?);
        *slot = Some(client.clone());
        Ok(client)
    }

    /// The daemon, if one runs.
    pub async fn daemon(&self) -> Result<Option<Client>> {
        Ok(Client::daemon(&self.paths, self.timeout).await?)
    }

    /// Lets go of the data directory. A command's end, or before a daemon is started.
    pub async fn release(&self) -> Result<()> {
        match self.client.lock().await.take().map(Arc::try_unwrap) {
            Some(Ok(client)) => Ok(client.close().await?),
            // Somebody is still at work with it; the process's end will do.
            Some(Err(_)) | None => Ok(()),
        }
    }
}
