// On a phone the tabs are wider than the screen: show the one we are on.
document.querySelector(".desk-tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
