//! What made-up people are called and say of themselves.

pub const FEMALE: [&str; 30] = [
    "Aisha", "Alma", "Ana", "Anika", "Carla", "Chloé", "Daria", "Elena", "Emma", "Fatima", "Freya", "Giulia", "Hana",
    "Ines", "Jana", "Keiko", "Leila", "Lucía", "Maja", "Mei", "Mina", "Nadia", "Olga", "Priya", "Rosa", "Sana",
    "Sofia", "Thandi", "Yara", "Zoe",
];
pub const MALE: [&str; 30] = [
    "Ahmed", "Alex", "Amir", "Andrei", "Bruno", "Carlos", "Chen", "Daniel", "Diego", "Emeka", "Erik", "Felix", "Hugo",
    "Ivan", "Jakob", "João", "Kenji", "Kofi", "Leo", "Luca", "Marco", "Mateo", "Nikhil", "Omar", "Pavel", "Rafael",
    "Ravi", "Samuel", "Tomás", "Yusuf",
];
pub const NEUTRAL: [&str; 15] = [
    "Ari", "Ash", "Charlie", "Dana", "Eden", "Jules", "Kai", "Kim", "Lou", "Nour", "Quinn", "Robin", "Sasha", "Toni",
    "Wren",
];
pub const LIKES: [&str; 24] = [
    "long walks",
    "jazz",
    "bouldering",
    "street food",
    "old films",
    "sailing",
    "ceramics",
    "chess",
    "the opera",
    "gardening",
    "cycling",
    "poetry",
    "techno",
    "baking bread",
    "stargazing",
    "museums",
    "surfing",
    "board games",
    "salsa",
    "photography",
    "hiking",
    "vinyl records",
    "languages",
    "cold swims",
];
pub const LOOKS_FOR: [&str; 8] = [
    "Here for good conversation.",
    "Let us start with a coffee.",
    "Ask me about my last trip.",
    "New in town and curious.",
    "Looking for someone who laughs easily.",
    "No small talk, please.",
    "Slow mornings, late evenings.",
    "I answer quickly and swipe slowly.",
];
