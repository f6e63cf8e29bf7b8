//! From what a request asks for to its scores: the one way to the queue, for all dialects.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use worldpm_ort_runtime::{
    Conversation, Error, PendingScore, Result, Reward, ScoredToken, Scorer, queue::RequestOptions,
};

use crate::{
    http::{Client, Problem, ProblemKind},
    models::Model,
    ops::{Computed, RequestContext},
    state::App,
};

/// Texts and lists of ids that are longer become tokens on a thread of their own, so that no other request waits for it.
const INLINE_BYTES: usize = 32 << 10;

/// What is scored.
pub(crate) enum Item {
    Conversation(Conversation),
    /// A text that the model's chat template made elsewhere.
    Templated(String),
    /// Its tokens.
    Ids(Vec<u32>),
}

/// What came of an item.
#[derive(Clone, Debug)]
pub(crate) struct Scored {
    pub(crate) reward: Reward,
    pub(crate) token: ScoredToken,
    pub(crate) times: Times,
}

/// Where the time of an item went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// Until it was tokens.
    pub(crate) tokenizing: Duration,
    /// In line.
    pub(crate) queued: Duration,
    /// In the model.
    pub(crate) computing: Duration,
}

impl Times {
    pub(crate) fn total(&self) -> Duration {
        self.tokenizing + self.queued + self.computing
    }
}

/// A request that is answered: whose it is, and of which model.
pub(crate) struct Asked {
    pub(crate) model: Arc<Model>,
    pub(crate) scorer: Arc<Scorer>,
    request: RequestOptions,
    most: usize,
    most_tokens: Option<usize>,
    /// Where it is noted what was scored.
    context: Option<Arc<RequestContext>>,
}

impl Asked {
    /// # Errors
    /// When the model is not known, or not ready.
    pub(crate) fn new(app: &App, client: Client, model: Option<&str>) -> Result<Self, Problem> {
        let model = Arc::clone(app.models().get(model)?);
        let scorer = model.scorer()?;
        let mut request = RequestOptions::default().with_caller(client.caller());
        request.deadline = app
            .options()
            .request_timeout
            .and_then(|allowed| Instant::now().checked_add(allowed));
        Ok(Self {
            model,
            scorer,
            request,
            most: app.options().max_request_conversations,
            most_tokens: app.options().security.max_request_tokens,
            context: RequestContext::current(),
        })
    }

    /// The same, of which nobody needs the scores after a moment.
    pub(crate) fn until(mut self, deadline: Instant) -> Self {
        let sooner = self
            .request
            .deadline
            .map_or(deadline, |own| own.min(deadline));
        self.request.deadline = Some(sooner);
        self
    }

    /// Scores items, each with its own outcome, in their order. When the future is dropped, what is not scored by then is
    /// not computed any more.
    ///
    /// # Errors
    /// For more items than a request may have.
    pub(crate) async fn each(
        &self,
        items: Vec<Item>,
    ) -> Result<Vec<Result<Scored, Error>>, Problem> {
        if items.len() > self.most {
            return Err(Problem::new(
                ProblemKind::TooLarge,
                format!(
                    "{} conversations in a request, and the limit is {}: send them in several",
                    items.len(),
                    self.most
                ),
            ));
        }
        if let Some(context) = &self.context {
            context.asked(items.len());
        }
        let entered = self.enter(items).await?;
        let scores = entered.into_iter().map(|entered| async {
            let entered = entered?;
            let (token, tokens) = (entered.pending.scored_token(), entered.pending.tokens());
            let (reward, timings) = entered.pending.timed().await;
            let mut times = Times {
                tokenizing: entered.tokenizing,
                ..Times::default()
            };
            if let Some(timings) = timings {
                // The model may have begun before the thread that put it in line looked at the clock.
                let early = entered.at.saturating_duration_since(timings.begun);
                let at = entered.at.min(timings.begun);
                times.tokenizing = times.tokenizing.saturating_sub(early);
                times.queued = timings.begun.saturating_duration_since(at);
                times.computing = timings.computed.saturating_duration_since(timings.begun);
                if let Some(context) = &self.context {
                    context.computed(&Computed {
                        tokens,
                        tokenising: times.tokenizing,
                        entered: at,
                        begun: timings.begun,
                        computed: timings.computed,
                    });
                }
            }
            Ok(Scored {
                reward: reward?,
                token,
                times,
            })
        });
        let outcomes = join_all(scores).await;
        if let Some(context) = &self.context {
            for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
                context.failed(self.model.name(), error);
            }
        }
        Ok(outcomes)
    }

    /// Scores items of which all are needed.
    ///
    /// # Errors
    /// The first one's that has no score.
    pub(crate) async fn all(&self, items: Vec<Item>) -> Result<Vec<Scored>, Problem> {
        let several = items.len() > 1;
        let outcomes = self.each(items).await?.into_iter().enumerate();
        outcomes
            .map(|(index, outcome)| {
                outcome.map_err(|error| match several {
                    true => Problem::from(&error).at(index),
                    false => Problem::from(&error),
                })
            })
            .collect()
    }

    /// Scores one item.
    ///
    /// # Errors
    /// Why it has no score.
    pub(crate) async fn one(&self, item: Item) -> Result<Scored, Problem> {
        let mut scored = self.all(vec![item]).await?;
        scored
            .pop()
            .ok_or_else(|| Problem::new(ProblemKind::Internal, "no score came"))
    }

    async fn enter(&self, items: Vec<Item>) -> Result<Vec<Result<Entered>>, Problem> {
        let bytes: usize = items.iter().map(Item::bytes).sum();
        let (scorer, request, most_tokens) =
            (Arc::clone(&self.scorer), self.request, self.most_tokens);
        let enter = move || {
            let mut tokens = 0;
            let entered = items.into_iter().map(|item| {
                let entered = item.enter(&scorer, &request);
                tokens += entered.as_ref().map_or(0, |one| one.pending.tokens());
                match most_tokens.filter(|&most| tokens > most) {
                    None => Ok(entered),
                    // What was in line before it is withdrawn.
                    Some(most) => Err(Problem::new(
                        ProblemKind::TooLarge,
                        format!(
                            "more than {most} tokens in a request, which is the limit: send its conversations in several"
                        ),
                    )),
                }
            });
            entered.collect()
        };
        if bytes <= INLINE_BYTES {
            return enter();
        }
        let entered = tokio::task::spawn_blocking(enter).await;
        entered.unwrap_or_else(|error| {
            tracing::error!(%error, "a request panicked");
            Err(Problem::internal())
        })
    }
}

/// An item in line.
struct Entered {
    pending: PendingScore,
    tokenizing: Duration,
    at: Instant,
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Conversation(conversation) => {
                let contents = conversation.messages.iter();
                contents
                    .filter_map(|message| message.content().map(str::len))
                    .sum()
            }
            Self::Templated(text) => text.len(),
            Self::Ids(ids) => ids.len() * size_of::<u32>(),
        }
    }

    fn enter(self, scorer: &Scorer, request: &RequestOptions) -> Result<Entered> {
        let begun = Instant::now();
        let pending = match self {
            Self::Conversation(conversation) => scorer.enqueue(&conversation, request),
            Self::Templated(text) => scorer.enqueue_text(&text, request),
            Self::Ids(ids) => scorer.enqueue_ids(&ids, request),
        }?;
        Ok(Entered {
            pending,
            tokenizing: begun.elapsed(),
            at: Instant::now(),
        })
    }
}
