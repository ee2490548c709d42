//! Small pictures, drawn with a line.

use maud::{Markup, PreEscaped, html};

/// A picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Icon {
    Alert,
    Ban,
    Book,
    Check,
    Clock,
    Cross,
    Dots,
    Failures,
    Gauge,
    Live,
    List,
    Menu,
    Pause,
    Play,
    Queues,
    Retry,
    Search,
    Settings,
    Shield,
    Types,
    Workers,
}

impl Icon {
    const fn path(self) -> &'static str {
        match self {
            Self::Alert => {
                "M12 9v4m0 3.5v.01M10.3 4 2.6 17.5A2 2 0 0 0 4.3 20.5h15.4a2 2 0 0 0 1.7-3L13.7 4a2 2 0 0 0-3.4 0z"
            }
            Self::Ban => "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM5.7 5.7l12.6 12.6",
            Self::Book => {
                "M4 5.5A2.5 2.5 0 0 1 6.5 3H20v18H6.5A2.5 2.5 0 0 1 4 18.5zM4 18.5A2.5 2.5 0 0 1 6.5 16H20"
            }
            Self::Check => "m5 12.5 4.5 4.5L19 7",
            Self::Clock => "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zm0 4.5V12l3 2",
            Self::Cross => "M6 6l12 12M18 6 6 18",
            Self::Dots => "M5 12h.01M12 12h.01M19 12h.01",
            Self::Failures => "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zm0 5v5m0 3v.01",
            Self::Gauge => "M4 18.5a9 9 0 1 1 16 0M12 14l4-5",
            Self::Live => "M3 12h4l2.5-7 5 14 2.5-7h4",
            Self::List => "M8.5 6H20M8.5 12H20M8.5 18H20M4 6h.01M4 12h.01M4 18h.01",
            Self::Menu => "M4 7h16M4 12h16M4 17h16",
            Self::Pause => "M8.5 5v14m7-14v14",
            Self::Play => "M7 4.5v15l12-7.5z",
            Self::Queues => "m12 3 9 4.5-9 4.5-9-4.5zM3 12l9 4.5 9-4.5M3 16.5 12 21l9-4.5",
            Self::Retry => "M20 11a8 8 0 1 0-2.3 6.300M20 5v6h-6",
            Self::Search => "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zm5 12 4 4",
            Self::Settings => "M4 7h9m5 0h2M4 17h3m5 0h8M15.5 4.800v4.400M9.5 14.800v4.400",
            Self::Shield => "M12 3 4.5 6v5.5c0 4.5 3 8 7.5 9.5 4.5-1.5 7.5-5 7.5-9.5V6z",
            Self::Types => "m8.5 7.5-5 4.5 5 4.5m7-9 5 4.5-5 4.5",
            Self::Workers => {
                "M6 6h12v12H6zM9.5 9.5h5v5h-5zM9 3v3m6-3v3M9 18v3m6-3v3M3 9h3m-3 6h3m12-6h3m-3 6h3"
            }
        }
    }

    /// The picture, 16 pixels wide. It says nothing that no word beside it
    /// does.
    pub(super) fn draw(self) -> Markup {
        let width = if self == Self::Dots { "3" } else { "2" };
        html! {
            svg width="16" height="16" viewBox="0 0 24 24" fill="none" stroke="currentColor"
                stroke-width=(width) stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" {
                (PreEscaped(format!("<path d=\"{}\"/>", self.path())))
            }
        }
    }
}

/// The mark of the product: three tasks in a queue, one of them ahead.
pub(super) fn mark() -> Markup {
    html! {
        svg width="20" height="20" viewBox="0 0 24 24" fill="currentColor" aria-hidden="true" {
            rect x="2" y="4" width="13" height="4" rx="2" opacity=".45" {}
            rect x="2" y="10" width="20" height="4" rx="2" {}
            rect x="2" y="16" width="10" height="4" rx="2" opacity=".45" {}
        }
    }
}
